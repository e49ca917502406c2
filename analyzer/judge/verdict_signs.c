#include "analyzer/judge/verdict_signs.h"

#include <math.h>
#include <string.h>

#include "analyzer/judge/pool_load.h"
#include "analyzer/server/server_witness.h"

/* ---- Strain ------------------------------------------------------------------------------------- */

/* An inferred capacity is only there when more wanted connections than there were: less is enough. */
static double full_from(const struct report_pool *pool, const struct thresholds *thresholds) {
	return pool->capacity_source != NULL && strcmp(pool->capacity_source, "inferred") == 0
		? thresholds->utilization_warning
		: thresholds->utilization_critical;
}

static void read_strain(struct verdict_signs *signs, const struct report *report, const struct model *model,
			const struct thresholds *thresholds) {
	uint64_t most_failed = 0;
	for (size_t i = 0; i < model->failure_count; i++)
		if (pool_load_is_for_lack_of_slots(model->failures[i].class_name))
			signs->refused += (int64_t)model->failures[i].count;
	for (size_t i = 0; i < report->pool_count; i++) {
		const struct report_pool *pool = &report->pools[i];
		uint64_t failed = model->pools[pool->number].totals.counter[MODEL_FAILED];
		/* Live, a moment's level is no strain. */
		double lasting = fmin(pool->utilization, pool->mean_in_use / (double)pool->capacity);
		if (!isnan(pool->utilization) && lasting >= full_from(pool, thresholds) &&
		    (signs->full_pool == NULL || pool->utilization > signs->full_pool->utilization))
			signs->full_pool = pool;
		if (signs->refused > 0 && failed > most_failed) {
			most_failed = failed;
			signs->worst_pool = pool;
		}
	}
	if (signs->full_pool != NULL && signs->refused == 0)
		signs->worst_pool = signs->full_pool;
}

/* ---- Use ---------------------------------------------------------------------------------------- */

struct use_sums {
	double uses;
	double used_ns;
	double query_ns;
	double transaction_idle_ns;
};

static void add_lease(struct use_sums *sums, const struct model_lease *lease) {
	double idle_ns =
		!lease->is_active && lease->is_in_transaction && lease->until_ns > lease->last_event_ns
		? (double)(lease->until_ns - lease->last_event_ns)
		: 0;
	double query_ns =
		lease->is_active && lease->command_begun_ns != 0 && lease->until_ns > lease->command_begun_ns
		? (double)(lease->until_ns - lease->command_begun_ns)
		: 0;
	if (!lease->is_in_use || lease->is_dedicated || lease->until_ns <= lease->use_begun_ns)
		return;
	sums->uses++;
	sums->used_ns += (double)(lease->until_ns - lease->use_begun_ns);
	sums->query_ns += (double)lease->use_in_query_ns + query_ns;
	sums->transaction_idle_ns += (double)lease->use_idle_in_transaction_ns + idle_ns;
}

static void add_pool(struct use_sums *sums, const struct model *model, uint32_t number) {
	const struct model_totals *totals = &model->pools[number].totals;
	sums->uses += (double)totals->counter[MODEL_USES_ENDED];
	sums->used_ns += (double)totals->time[MODEL_USE_TIME].sum_ns;
	sums->query_ns += (double)totals->counter[MODEL_IN_QUERY_NS];
	sums->transaction_idle_ns += (double)totals->counter[MODEL_IDLE_IN_TRANSACTION_NS];
	for (size_t i = 0; i < model->lease_count; i++)
		if (model->leases[i].pool == number)
			add_lease(sums, &model->leases[i]);
}

/* The sum of squares over the sum: the mean length as a moment of it sees it, over the last uses. */
struct lengths {
	double sum;
	double squares;
};

static void add_length(struct lengths *lengths, uint64_t length_ns, uint32_t weight) {
	lengths->sum += (double)length_ns * weight;
	lengths->squares += (double)length_ns * (double)length_ns * weight;
}

static double seen_length_s(const struct lengths *lengths, double otherwise_s) {
	return lengths->sum > 0 ? lengths->squares / lengths->sum / 1e9 : otherwise_s;
}

static bool is_looked_at(const struct verdict_signs *signs, uint32_t pool) {
	return signs->refused > 0 || signs->full_pool == NULL || signs->full_pool->number == pool;
}

static void read_lengths(struct verdict_signs *signs, const struct model *model) {
	struct lengths query = {0};
	struct lengths idle = {0};
	for (size_t i = 0; i < model->use_count; i++) {
		const struct model_use *use = &model->uses[i];
		if (use->is_dedicated || !is_looked_at(signs, use->pool))
			continue;
		add_length(&query, use->in_query_ns, use->weight);
		add_length(&idle, use->idle_in_transaction_ns, use->weight);
	}
	signs->query_per_use_s = seen_length_s(&query, signs->query_per_use_s);
	signs->transaction_idle_per_use_s = seen_length_s(&idle, signs->transaction_idle_per_use_s);
}

static void read_use(struct verdict_signs *signs, const struct model *model) {
	struct use_sums sums = {0};
	for (uint32_t i = 0; i < model->pool_count; i++)
		if (is_looked_at(signs, i))
			add_pool(&sums, model, i);
	signs->uses = sums.uses;
	if (sums.uses <= 0 || sums.used_ns <= 0)
		return;
	signs->query_share = sums.query_ns / sums.used_ns;
	signs->transaction_idle_share = sums.transaction_idle_ns / sums.used_ns;
	signs->query_per_use_s = sums.query_ns / sums.uses / 1e9;
	signs->transaction_idle_per_use_s = sums.transaction_idle_ns / sums.uses / 1e9;
	read_lengths(signs, model);
}

/* ---- Holders ------------------------------------------------------------------------------------ */

/* The role other than `refused` that held most in a snapshot. */
static const char *main_holder(const struct model_snapshot *snapshot) {
	const char *best = NULL;
	size_t most = 0;
	for (size_t i = 0; i < snapshot->holder_count; i++) {
		size_t count = 0;
		if (strcmp(snapshot->holders[i].role, snapshot->role) == 0)
			continue;
		for (size_t j = 0; j < snapshot->holder_count; j++)
			count += strcmp(snapshot->holders[j].role, snapshot->holders[i].role) == 0;
		if (count > most) {
			most = count;
			best = snapshot->holders[i].role;
		}
	}
	return best;
}

/* Who only tries to get a connection holds no slot. */
static bool is_holding(const struct model_holder *holder) {
	return holder->state == MODEL_LEASE_OPEN;
}

static void read_holders(struct verdict_signs *signs, const struct model *model) {
	double holders = 0;
	double others = 0;
	double idle = 0;
	signs->holders = NAN;
	for (size_t i = 0; i < model->snapshot_count; i++) {
		const struct model_snapshot *snapshot = &model->snapshots[i];
		for (size_t j = 0; j < snapshot->holder_count; j++) {
			const struct model_holder *holder = &snapshot->holders[j];
			if (!is_holding(holder))
				continue;
			holders++;
			others += strcmp(holder->role, snapshot->role) != 0;
			idle += !holder->is_active && !holder->is_in_transaction && !holder->is_dedicated;
		}
		holders += (double)snapshot->missing_count;
	}
	if (model->snapshot_count == 0)
		return;
	signs->holders = holders / (double)model->snapshot_count;
	signs->other_roles_share = holders > 0 ? others / holders : 0;
	signs->idle_share = holders > 0 ? idle / holders : 0;
	signs->refused_role = model->snapshots[0].role;
	signs->holding_role = main_holder(&model->snapshots[0]);
}

/* ---- Server, start, findings -------------------------------------------------------------------- */

static bool has_failed_by(const struct model *model, const char *class_name) {
	for (size_t i = 0; i < model->failure_count; i++)
		if (model->failures[i].count > 0 && strcmp(model->failures[i].class_name, class_name) == 0)
			return true;
	return false;
}

static void read_server(struct verdict_signs *signs, const struct report *report, const struct model *model,
			const struct report_settings *settings) {
	const struct report_server *server = report->server;
	signs->slots = REPORT_UNKNOWN;
	signs->foreign = REPORT_UNKNOWN;
	if (server == NULL || server->is_pooled || server->max_connections == REPORT_UNKNOWN)
		return;
	signs->slots = server->max_connections - server->reserved;
	if (has_failed_by(model, "role_limit") && server->role_limit != REPORT_UNKNOWN)
		signs->slots = server->role_limit;
	if (has_failed_by(model, "database_limit") && server->database_limit != REPORT_UNKNOWN)
		signs->slots = server->database_limit;
	/* Before the run all sessions are others'. */
	signs->foreign = settings->server_before != NULL ? (int64_t)settings->server_before->session_count
							 : server->foreign_sessions;
}

static void read_start(struct verdict_signs *signs, const struct report *report, const struct model *model,
		       const struct thresholds *thresholds) {
	struct pool_load_start start;
	signs->start.is_known = pool_load_measure_start(&start, model, thresholds->stampede_window);
	if (!signs->start.is_known)
		return;
	signs->start.attempts = (int64_t)start.attempts;
	signs->start.failures = (int64_t)start.failures;
	signs->start.steady_peak = (int64_t)start.steady_peak;
	if (report->totals.failed > 0)
		signs->refused_at_start = (double)start.failures / (double)report->totals.failed;
}

static void read_findings(struct verdict_signs *signs, const struct report *report) {
	for (size_t i = 0; i < report->finding_count; i++) {
		const struct finding *finding = report->findings[i].finding;
		if (strcmp(finding->kind, "stampede") == 0)
			signs->stampede = finding;
		if (strcmp(finding->kind, "churn") == 0 && signs->churn == NULL)
			signs->churn = finding;
		if (strcmp(finding->kind, "idle-in-transaction") == 0 && finding->level != FINDING_NOTE &&
		    signs->held_idle == NULL)
			signs->held_idle = finding;
	}
}

void verdict_signs_read(struct verdict_signs *signs, const struct report *report, const struct model *model,
			const struct report_settings *settings) {
	*signs = (struct verdict_signs){0};
	read_strain(signs, report, model, &settings->thresholds);
	read_use(signs, model);
	read_holders(signs, model);
	read_server(signs, report, model, settings);
	read_start(signs, report, model, &settings->thresholds);
	read_findings(signs, report);
}
