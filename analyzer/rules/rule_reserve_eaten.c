/*
 * reserve-eaten: so few slots were left on the server that nobody else could have worked, or slots that a role has
 * reserved were taken by others. Needs the server's limit.
 */
#include <inttypes.h>

#include "analyzer/rules/rule.h"

/* Slots in use when most were: ours, and what others held when the server was asked. */
static int64_t most_used(const struct report *report) {
	const struct report_server *server = report->server;
	int64_t others = server->clients > report->totals.open ? server->clients - report->totals.open : 0;
	return report->run.live ? server->clients : report->totals.peak_open + others;
}

bool rule_reserve_eaten(const struct rule_input *input, struct finding *finding) {
	const struct report_server *server = input->report->server;
	int64_t reserve = (int64_t)input->settings->thresholds.reserve_left;
	for (size_t i = 0; i < input->settings->capacity_count; i++)
		if (input->settings->capacities[i].reserved > reserve)
			reserve = input->settings->capacities[i].reserved;
	if (server == NULL || server->is_pooled || server->max_connections == REPORT_UNKNOWN ||
	    input->report->totals.established == 0)
		return false;
	int64_t slots = server->max_connections - server->reserved;
	int64_t left = slots - most_used(input->report);
	if (left >= reserve)
		return false;
	finding->count = (uint64_t)(reserve - left);
	finding->message =
		arena_text(input->arena,
			   "%" PRId64 " of %" PRId64 " slots were left on the server when most were in use; "
			   "%" PRId64 " should stay free for others",
			   left > 0 ? left : 0, slots, reserve);
	rule_add_count(finding, "slots", (uint64_t)slots);
	rule_add_count(finding, "left", (uint64_t)(left > 0 ? left : 0));
	rule_add_count(finding, "reserve", (uint64_t)reserve);
	return true;
}
