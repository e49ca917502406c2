#include "shim/ledger_writer.h"

#include <string.h>
#include <unistd.h>

#define PAUSE_NS UINT64_C(1000000000)

static bool is_due(struct ledger_header *ledger, uint64_t now_ns) {
	uint64_t last_ns = atomic_load_explicit(&ledger->last_snapshot_ns, memory_order_relaxed);
	if (last_ns != 0 && now_ns < last_ns + PAUSE_NS)
		return false;
	return atomic_compare_exchange_strong_explicit(&ledger->last_snapshot_ns, &last_ns, now_ns,
						       memory_order_relaxed, memory_order_relaxed);
}

/* The first ones stay, the last ones go round. */
static uint64_t place_of(const struct ledger_section *section, uint64_t number) {
	uint64_t kept = section->capacity / 2;
	uint64_t ring = section->capacity - kept;
	return number < kept ? number : kept + (number - kept) % ring;
}

static struct ledger_snapshot *claim(struct ledger_header *ledger, uint64_t *word) {
	struct ledger_section *section = &ledger->section[LEDGER_SNAPSHOTS];
	uint64_t number = atomic_fetch_add_explicit(&section->used, 1, memory_order_relaxed);
	struct ledger_snapshot *snapshot = ledger_unit(ledger, LEDGER_SNAPSHOTS, place_of(section, number));
	uint64_t seen = snapshot ? atomic_load_explicit(&snapshot->word, memory_order_relaxed) : UINT64_MAX;
	*word = (number + 1) << 1;
	if (seen >= *word ||
	    !atomic_compare_exchange_strong_explicit(&snapshot->word, &seen, *word, memory_order_acq_rel,
						     memory_order_relaxed))
		return NULL;
	return snapshot;
}

/* Has, or is about to have, a session of the server. */
static bool is_holder(enum ledger_lease_state state, uint32_t flags) {
	if (flags & (LEDGER_LEASE_BROKEN | LEDGER_LEASE_FINISHED_ELSEWHERE))
		return false;
	return state == LEDGER_LEASE_CONNECTING || state == LEDGER_LEASE_ESTABLISHING ||
		state == LEDGER_LEASE_OPEN || state == LEDGER_LEASE_RESETTING ||
		state == LEDGER_LEASE_CLOSING;
}

/* Another process may change or free the lease meanwhile: believed only if its word is the same behind it. */
static bool describe(const struct ledger_lease *lease, struct ledger_holder *holder) {
	uint64_t word = atomic_load_explicit(&lease->word, memory_order_acquire);
	uint32_t flags = (lease->flags & ~LEDGER_LEASE_USE_FLAGS) |
		atomic_load_explicit(&lease->use_flags, memory_order_relaxed);
	uint64_t command_ns = atomic_load_explicit(&lease->command_begun_ns, memory_order_relaxed);
	uint64_t event_ns = atomic_load_explicit(&lease->last_event_ns, memory_order_relaxed);
	*holder = (struct ledger_holder){
		.since_ns = lease->held_since_ns ? lease->held_since_ns : lease->begun_ns,
		.changed_ns = command_ns ? command_ns : event_ns,
		.site = lease->site,
		.use_site = atomic_load_explicit(&lease->last_use_site, memory_order_relaxed),
		.role = lease->role,
		.pool = lease->pool,
		.pid = lease->pid,
		.backend_pid = lease->backend_pid,
		.state = (uint32_t)(word >> 56),
		.flags = flags,
		.statement_kind = atomic_load_explicit(&lease->statement_kind, memory_order_relaxed),
	};
	atomic_thread_fence(memory_order_acquire);
	return is_holder((enum ledger_lease_state)(word >> 56), flags) &&
		atomic_load_explicit(&lease->word, memory_order_relaxed) == word;
}

static void freeze(struct ledger_header *ledger, struct ledger_snapshot *snapshot) {
	const struct ledger_section *section = &ledger->section[LEDGER_LEASES];
	uint64_t used = atomic_load_explicit(&section->used, memory_order_relaxed);
	snapshot->holder_count = 0;
	snapshot->holders_missing = 0;
	for (uint64_t number = 0; number < used && number < section->capacity; number++) {
		const struct ledger_lease *lease = ledger_unit(ledger, LEDGER_LEASES, number);
		struct ledger_holder holder;
		if (!lease || !describe(lease, &holder))
			continue;
		if (snapshot->holder_count < LEDGER_SNAPSHOT_HOLDERS)
			snapshot->holder[snapshot->holder_count++] = holder;
		else
			snapshot->holders_missing++;
	}
}

void ledger_snapshot_take(const struct ledger_account *account, uint32_t process, uint32_t failure,
			  uint64_t now_ns) {
	struct ledger_header *ledger = account->ledger;
	const struct ledger_process *record = ledger_unit(ledger, LEDGER_PROCESSES, process);
	const struct ledger_pool *pool = ledger_unit(ledger, LEDGER_POOLS, account->pool);
	uint64_t word;
	if (!record || !is_due(ledger, now_ns))
		return;
	ledger_reap(ledger, record->pid_namespace);
	struct ledger_snapshot *snapshot = claim(ledger, &word);
	if (!snapshot)
		return;
	snapshot->at_ns = now_ns;
	snapshot->failure = failure;
	snapshot->pid = (int32_t)getpid();
	snapshot->role = pool ? pool->role : 0;
	snapshot->pool = account->pool;
	snapshot->site = account->site;
	freeze(ledger, snapshot);
	atomic_compare_exchange_strong_explicit(&snapshot->word, &word, word | 1, memory_order_release,
						memory_order_relaxed);
}
