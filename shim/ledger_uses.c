#include "shim/ledger_writer.h"

#include <string.h>

/*
 * What ended uses leave behind: an entry in the ring, and additions to the totals of pool and use site, made for several
 * short uses of a lease together.
 */

static uint32_t load(const _Atomic uint32_t *word) {
	return atomic_load_explicit(word, memory_order_relaxed);
}

static void clear(_Atomic uint32_t *word) {
	atomic_store_explicit(word, 0, memory_order_relaxed);
}

void ledger_batch_add(struct ledger_lease *lease, const struct ledger_use *use) {
	uint32_t count = load(&lease->batch_count);
	if (count >= LEDGER_BATCH_USES)
		return; /* two threads on one connection, which is a misuse of its own */
	atomic_store_explicit(&lease->batch_use_ns[count], (uint32_t)(use->ended_ns - use->begun_ns),
			      memory_order_relaxed);
	if (use->flags & LEDGER_USE_ASSUMED)
		atomic_store_explicit(&lease->batch_assumed, load(&lease->batch_assumed) + 1,
				      memory_order_relaxed);
	atomic_store_explicit(&lease->batch_commands, load(&lease->batch_commands) + use->commands,
			      memory_order_relaxed);
	atomic_store_explicit(&lease->batch_in_query_ns,
			      load(&lease->batch_in_query_ns) + (uint32_t)use->in_query_ns,
			      memory_order_relaxed);
	atomic_store_explicit(&lease->batch_idle_in_transaction_ns,
			      load(&lease->batch_idle_in_transaction_ns) +
				      (uint32_t)use->idle_in_transaction_ns,
			      memory_order_relaxed);
	atomic_store_explicit(&lease->batch_count, count + 1, memory_order_release);
}

static void add_some(const struct ledger_account *account, enum ledger_counter counter, uint32_t amount,
		     uint64_t now_ns) {
	if (amount)
		ledger_add(account, counter, amount, now_ns);
}

/* In this order a process that is killed in between leaves the batch marked: who finds it so counts it as torn. */
uint32_t ledger_batch_flush(struct ledger_header *ledger, struct ledger_lease *lease, uint64_t now_ns) {
	uint32_t count = atomic_load_explicit(&lease->batch_count, memory_order_acquire);
	uint64_t use_ns[LEDGER_BATCH_USES];
	struct ledger_account account = {ledger, lease->pool, load(&lease->last_use_site)};
	if (count == 0)
		return 0;
	if (count > LEDGER_BATCH_USES ||
	    !atomic_compare_exchange_strong_explicit(&lease->batch_count, &count,
						     count | LEDGER_BATCH_FLUSHING, memory_order_acq_rel,
						     memory_order_relaxed))
		return 0;
	for (uint32_t i = 0; i < count; i++)
		use_ns[i] = load(&lease->batch_use_ns[i]);
	ledger_add(&account, LEDGER_USES_ENDED, count, now_ns);
	add_some(&account, LEDGER_USES_ASSUMED, load(&lease->batch_assumed), now_ns);
	add_some(&account, LEDGER_COMMANDS, load(&lease->batch_commands), now_ns);
	add_some(&account, LEDGER_IN_QUERY_NS, load(&lease->batch_in_query_ns), now_ns);
	add_some(&account, LEDGER_IDLE_IN_TRANSACTION_NS, load(&lease->batch_idle_in_transaction_ns), now_ns);
	ledger_add_times(&account, LEDGER_USE_TIME, use_ns, count);
	clear(&lease->batch_assumed);
	clear(&lease->batch_commands);
	clear(&lease->batch_in_query_ns);
	clear(&lease->batch_idle_in_transaction_ns);
	atomic_store_explicit(&lease->batch_begun_ns, now_ns, memory_order_relaxed);
	atomic_store_explicit(&lease->batch_count, 0, memory_order_release);
	return count;
}

void ledger_batch_fold(struct ledger_header *ledger, struct ledger_lease *lease, uint64_t now_ns) {
	if (atomic_load_explicit(&lease->batch_count, memory_order_acquire) > LEDGER_BATCH_USES)
		ledger_count_loss(ledger, LEDGER_TORN);
	else
		ledger_batch_flush(ledger, lease, now_ns);
}

void ledger_add_use(const struct ledger_account *account, const struct ledger_use *use) {
	uint64_t use_ns = use->ended_ns - use->begun_ns;
	ledger_add(account, LEDGER_USES_ENDED, 1, use->ended_ns);
	add_some(account, LEDGER_COMMANDS, use->commands, use->ended_ns);
	add_some(account, LEDGER_USES_ASSUMED, (use->flags & LEDGER_USE_ASSUMED) != 0, use->ended_ns);
	add_some(account, LEDGER_USES_LEFT, (use->flags & LEDGER_USE_LEFT) != 0, use->ended_ns);
	ledger_add(account, LEDGER_IN_QUERY_NS, use->in_query_ns, use->ended_ns);
	if (use->idle_in_transaction_ns)
		ledger_add(account, LEDGER_IDLE_IN_TRANSACTION_NS, use->idle_in_transaction_ns,
			   use->ended_ns);
	ledger_add_times(account, LEDGER_USE_TIME, &use_ns, 1);
}

/* As ledger_history_add. */
void ledger_use_keep(struct ledger_header *ledger, const struct ledger_use *use) {
	struct ledger_section *section = &ledger->section[LEDGER_USES];
	uint64_t sequence = atomic_fetch_add_explicit(&section->used, 1, memory_order_relaxed);
	struct ledger_use *entry = ledger_unit(ledger, LEDGER_USES, sequence % section->capacity);
	uint64_t seen = entry ? atomic_load_explicit(&entry->word, memory_order_relaxed) : UINT64_MAX;
	uint64_t writing = (sequence + section->capacity) << 1;
	if (seen >= writing ||
	    !atomic_compare_exchange_strong_explicit(&entry->word, &seen, writing, memory_order_acq_rel,
						     memory_order_relaxed))
		return;
	memcpy((char *)entry + 16, (const char *)use + 16, sizeof *use - 16);
	entry->check = ledger_use_check(use, sequence);
	atomic_compare_exchange_strong_explicit(&entry->word, &writing, writing | 1, memory_order_release,
						memory_order_relaxed);
}

struct ledger_use ledger_use_of(const struct ledger_slot *slot, uint64_t ended_ns) {
	const struct ledger_lease *lease = ledger_slot_lease(slot);
	return (struct ledger_use){
		.begun_ns = lease->use_begun_ns,
		.ended_ns = ended_ns,
		.first_command_ns = lease->use_first_command_ns,
		.in_query_ns = lease->use_in_query_ns,
		.idle_in_transaction_ns = lease->use_idle_in_transaction_ns,
		.site = lease->last_use_site,
		.pool = lease->pool,
		.pid = lease->pid,
		.thread = lease->use_thread,
		.flags = lease->flags | lease->use_flags,
		.statement_kind = lease->use_statement,
		.lease = slot->number,
		.lease_generation = (uint32_t)(slot->word >> 32) & 0xffffffu,
		.backend_pid = lease->backend_pid,
		.commands = lease->use_commands,
		.weight = 1,
	};
}

/* Who folds is alone with the slot. */
static void raise_by(_Atomic uint64_t *word, uint64_t amount) {
	atomic_store_explicit(word, atomic_load_explicit(word, memory_order_relaxed) + amount,
			      memory_order_relaxed);
}

bool ledger_is_in_use(const struct ledger_lease *lease) {
	uint32_t flags = load(&lease->use_flags);
	bool is_in_use = lease->use_begun_ns != 0 || (flags & LEDGER_LEASE_USED_TO_THE_END);
	return is_in_use && lease->command_begun_ns == 0 && !(flags & LEDGER_LEASE_DEDICATED);
}

/* What is going on when the lease or its process ends belongs to its last use. */
void ledger_use_fold(struct ledger_slot *slot, uint64_t ended_ns) {
	struct ledger_lease *lease = ledger_slot_lease(slot);
	uint64_t since_ns = lease->command_begun_ns ? lease->command_begun_ns : lease->last_event_ns;
	uint64_t last_ns = since_ns != 0 && ended_ns > since_ns ? ended_ns - since_ns : 0;
	ledger_batch_fold(slot->ledger, lease, ended_ns);
	if (lease->use_begun_ns != 0) {
		_Atomic uint64_t *of_use = lease->command_begun_ns ? &lease->use_in_query_ns
								   : &lease->use_idle_in_transaction_ns;
		_Atomic uint64_t *of_lease =
			lease->command_begun_ns ? &lease->in_query_ns : &lease->idle_in_transaction_ns;
		raise_by(of_use, last_ns);
		raise_by(of_lease, last_ns);
		struct ledger_use use = ledger_use_of(slot, ended_ns);
		struct ledger_account account = {slot->ledger, use.pool, use.site};
		use.flags |= LEDGER_USE_LEFT;
		ledger_add_use(&account, &use);
		ledger_use_keep(slot->ledger, &use);
		ledger_take_in_use(&account, lease->use_flags);
		lease->use_begun_ns = 0;
		lease->command_begun_ns = 0;
	} else if (lease->flags & LEDGER_LEASE_ESTABLISHED) {
		raise_by(&lease->idle_ns, last_ns);
	}
	uint32_t flags = load(&lease->use_flags) &
		~(uint32_t)(LEDGER_LEASE_IN_USE | LEDGER_LEASE_IN_USE_RUN | LEDGER_LEASE_ACTIVE |
			    LEDGER_LEASE_IN_TRANSACTION | LEDGER_LEASE_TRANSACTION_FAILED |
			    LEDGER_USE_BEGAN_EMPTY);
	atomic_store_explicit(&lease->use_flags, flags, memory_order_relaxed);
	struct ledger_account own = {slot->ledger, lease->pool, lease->site};
	if (lease->idle_ns)
		ledger_add(&own, LEDGER_IDLE_NS, lease->idle_ns, ended_ns);
}
