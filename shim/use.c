#include "shim/use.h"

#include <stddef.h>

#include "shim/script.h"
#include "shim/site.h"
#include "shim/site_recall.h"

#define CONTESTED INT32_MIN

/* ---- Words of the slot: only the thread inside a call writes them ---------------------------------------------- */

static uint64_t get(const _Atomic uint64_t *word) {
	return atomic_load_explicit(word, memory_order_relaxed);
}

static void put(_Atomic uint64_t *word, uint64_t value) {
	atomic_store_explicit(word, value, memory_order_relaxed);
}

static uint32_t get32(const _Atomic uint32_t *word) {
	return atomic_load_explicit(word, memory_order_relaxed);
}

static void put32(_Atomic uint32_t *word, uint32_t value) {
	atomic_store_explicit(word, value, memory_order_relaxed);
}

static void add(_Atomic uint64_t *word, uint64_t amount) {
	put(word, get(word) + amount);
}

static void add32(_Atomic uint32_t *word, uint32_t amount) {
	put32(word, get32(word) + amount);
}

static void change_flags(struct ledger_lease *lease, uint32_t clear, uint32_t set) {
	put32(&lease->use_flags, (get32(&lease->use_flags) & ~clear) | set);
}

static bool has_flag(const struct ledger_lease *lease, uint32_t flag) {
	return get32(&lease->use_flags) & flag;
}

static struct ledger_account use_account(const struct ledger_slot *slot) {
	const struct ledger_lease *lease = ledger_slot_lease(slot);
	return (struct ledger_account){slot->ledger, lease->pool, get32(&lease->last_use_site)};
}

static uint64_t since(uint64_t begun_ns, uint64_t now_ns) {
	return begun_ns != 0 && now_ns > begun_ns ? now_ns - begun_ns : 0;
}

/* ---- Two threads at once ------------------------------------------------------------------------------------------ */

static void keep_example(const struct ledger_slot *slot, enum ledger_release release, uint32_t second_site,
			 uint64_t now_ns) {
	const struct ledger_lease *lease = ledger_slot_lease(slot);
	struct ledger_ended example = ledger_ended_of(lease);
	struct ledger_account account = {slot->ledger, lease->pool, second_site};
	example.release = (uint8_t)release;
	example.site = get32(&lease->last_use_site);
	example.release_site = second_site;
	example.ended_ns = now_ns;
	ledger_example_add(&account, &example);
}

/* Plain loads and stores: two threads that meet are seen unless they come in the very same nanoseconds. The word
 * of a thread that left by longjmp stays; who finds it puts it back, marked, and only its owner can count it, when it
 * returns after all. */
static void step_inside(struct use_call *call, struct ledger_lease *lease) {
	call->thread_before = atomic_load_explicit(&lease->thread_inside, memory_order_relaxed);
	if ((call->thread_before & ~CONTESTED) == call->thread)
		call->thread_before = 0;
	atomic_store_explicit(&lease->thread_inside, call->thread, memory_order_relaxed);
}

static void step_outside(const struct use_call *call, struct ledger_lease *lease) {
	int32_t found = atomic_load_explicit(&lease->thread_inside, memory_order_relaxed);
	bool is_alone = found == call->thread || found == 0;
	int32_t left = is_alone && call->thread_before ? call->thread_before | CONTESTED : 0;
	atomic_store_explicit(&lease->thread_inside, left, memory_order_relaxed);
	if (is_alone)
		return;
	uint64_t now_ns = ledger_now_ns();
	struct ledger_account account = use_account(&call->slot);
	ledger_add_misuse(&account, LEDGER_CONCURRENT_USE, LEDGER_FINDING_CONCURRENT_USE, now_ns);
	keep_example(&call->slot, LEDGER_RELEASE_CONCURRENT_USE, get32(&lease->intruder_site), now_ns);
}

/* Only who came first is sure, when it returns, that there were two; only who came second knows where it is. A marked word
 * was met before: a thread that left by longjmp does not cost every call behind it a stack. */
static void note_intruder(const struct use_call *call, const struct recording *now, const void *caller) {
	if (call->thread_before != 0 && !(call->thread_before & CONTESTED))
		put32(&ledger_slot_lease(&call->slot)->intruder_site, site_here(now, caller));
}

/* ---- A thread in a transaction -------------------------------------------------------------------------------------- */

/* The lease on which this thread is in a transaction, as far as is known. */
static __thread struct {
	struct ledger_slot slot;
	uint32_t generation; /* of the process */
	bool is_there;
	bool is_told; /* a transaction is told once, however many leases its thread takes meanwhile */
} transaction;

static bool is_transaction_of(const struct ledger_slot *slot) {
	return transaction.is_there && transaction.slot.number == slot->number &&
		transaction.slot.word << 8 == slot->word << 8;
}

/* Who does not wait for its commands is an event loop, which serves others while a transaction is open. */
static void follow_transaction(const struct use_call *call, bool is_in_transaction) {
	const struct ledger_slot *slot = &call->slot;
	const struct recording *now = NULL;
	if (is_in_transaction && call->is_waiting && !transaction.is_there &&
	    (now = process_recording_if_attached())) {
		transaction.slot = *slot;
		transaction.generation = now->generation;
		transaction.is_told = false;
		transaction.is_there = true;
	} else if (!is_in_transaction && is_transaction_of(slot)) {
		transaction.is_there = false;
	}
}

/* Another thread may have ended it, or have it now: a pool of threads runs the parts of one request, and the first of
 * them waits for nobody when it takes a lease for the next request. */
static bool find_transaction(struct ledger_slot *slot) {
	if (!transaction.is_there)
		return false;
	const struct recording *now = process_recording_if_attached();
	if (now && transaction.generation == now->generation &&
	    ledger_slot_find(slot, now->ledger, transaction.slot.number, transaction.slot.word)) {
		const struct ledger_lease *lease = ledger_slot_lease(slot);
		uint32_t flags = get32(&lease->use_flags);
		int32_t thread = atomic_load_explicit(&lease->use_thread, memory_order_relaxed);
		if ((flags & (LEDGER_LEASE_IN_TRANSACTION | LEDGER_LEASE_TRANSACTION_FAILED)) &&
		    !(flags & (LEDGER_LEASE_DEDICATED | LEDGER_USE_HANDED_OVER)) &&
		    thread == process_thread_id())
			return true;
	}
	transaction.is_there = false;
	return false;
}

void use_lease_taken(const struct ledger_account *account, uint64_t now_ns) {
	struct ledger_slot outer;
	if (!find_transaction(&outer) || transaction.is_told)
		return;
	transaction.is_told = true;
	ledger_add_misuse(account, LEDGER_NESTED_LEASE, LEDGER_FINDING_NESTED_LEASE, now_ns);
	keep_example(&outer, LEDGER_RELEASE_NESTED_LEASE, account->site, now_ns);
}

/* ---- Spans ------------------------------------------------------------------------------------------------------------ */

static void judge_idle_span(const struct ledger_slot *slot, uint64_t span_ns, uint64_t now_ns) {
	struct ledger_account account = use_account(slot);
	if (span_ns < LEDGER_BATCH_NS)
		return;
	ledger_add_time(&account, LEDGER_IDLE_SPAN_TIME, span_ns);
	if (span_ns >= LEDGER_IDLE_SPAN_NS)
		ledger_add_misuse(&account, LEDGER_IDLE_SPANS, LEDGER_FINDING_IDLE_SPAN, now_ns);
	if (span_ns >= LEDGER_LONG_IDLE_SPAN_NS)
		ledger_add(&account, LEDGER_LONG_IDLE_SPANS, 1, now_ns);
	if (span_ns >= LEDGER_VERY_LONG_IDLE_SPAN_NS)
		ledger_add(&account, LEDGER_VERY_LONG_IDLE_SPANS, 1, now_ns);
}

static void judge_query(const struct ledger_slot *slot, uint64_t span_ns, uint64_t now_ns) {
	struct ledger_account account = use_account(slot);
	if (span_ns < LEDGER_SLOW_QUERY_NS || has_flag(ledger_slot_lease(slot), LEDGER_LEASE_DEDICATED))
		return;
	ledger_add_misuse(&account, LEDGER_SLOW_QUERIES, LEDGER_FINDING_SLOW_QUERY, now_ns);
	if (span_ns >= LEDGER_VERY_SLOW_QUERY_NS)
		ledger_add(&account, LEDGER_VERY_SLOW_QUERIES, 1, now_ns);
}

static void first_command_ended(const struct ledger_slot *slot, uint64_t span_ns) {
	struct ledger_lease *lease = ledger_slot_lease(slot);
	if (get(&lease->use_first_command_ns) == 0)
		put(&lease->use_first_command_ns, span_ns ? span_ns : 1);
	if (get(&lease->first_command_ns) != 0)
		return;
	struct ledger_account account = use_account(slot);
	put(&lease->first_command_ns, span_ns ? span_ns : 1);
	ledger_add_time(&account, LEDGER_FIRST_COMMAND_TIME, span_ns);
}

/* ---- A use begins ---------------------------------------------------------------------------------------------------- */

static void flush(const struct ledger_slot *slot, uint64_t now_ns) {
	ledger_batch_flush(slot->ledger, ledger_slot_lease(slot), now_ns);
}

static void begin_use(struct use_call *call, const struct recording *now, const void *caller,
		      const void *mark) {
	struct ledger_slot *slot = &call->slot;
	struct ledger_lease *lease = ledger_slot_lease(slot);
	bool is_assumed = false;
	uint32_t site = site_recall(now, caller, mark, call->begun_ns, &is_assumed);
	if (site != get32(&lease->last_use_site)) {
		flush(slot, call->begun_ns); /* a batch is of one site */
		put32(&lease->last_use_site, site);
	}
	add(&lease->idle_ns, since(lease->last_event_ns, call->begun_ns));
	put32(&lease->use_commands, 0);
	put32(&lease->use_statement, STATEMENT_UNKNOWN);
	put(&lease->use_in_query_ns, 0);
	put(&lease->use_idle_in_transaction_ns, 0);
	put(&lease->use_first_command_ns, 0);
	atomic_store_explicit(&lease->use_thread, call->thread, memory_order_relaxed);
	add32(&lease->uses, 1);
	put(&lease->use_begun_ns, call->begun_ns);
	struct ledger_account account = use_account(slot);
	change_flags(lease,
		     LEDGER_USE_ASSUMED | LEDGER_USE_BEGAN_EMPTY | LEDGER_USE_HANDED_OVER |
			     LEDGER_LEASE_IN_USE | LEDGER_LEASE_IN_USE_RUN | LEDGER_LEASE_USED_TO_THE_END,
		     ledger_add_in_use(&account) | (is_assumed ? LEDGER_USE_ASSUMED : 0));
	if (is_assumed)
		process_note(LEDGER_NOTE_USES_ASSUMED);
	if (call->is_waiting && !has_flag(lease, LEDGER_LEASE_DEDICATED))
		use_lease_taken(&account, call->begun_ns);
}

static void idle_in_transaction_until(const struct ledger_slot *slot, uint64_t now_ns) {
	struct ledger_lease *lease = ledger_slot_lease(slot);
	uint64_t span_ns = since(lease->last_event_ns, now_ns);
	add(&lease->use_idle_in_transaction_ns, span_ns);
	add(&lease->idle_in_transaction_ns, span_ns);
	judge_idle_span(slot, span_ns, now_ns);
}

/* What a runtime's shutdown ends was not given back. */
static void go_on(const struct use_call *call) {
	struct ledger_lease *lease = ledger_slot_lease(&call->slot);
	if (script_is_over())
		change_flags(lease, 0, LEDGER_LEASE_USED_TO_THE_END);
	idle_in_transaction_until(&call->slot, call->begun_ns);
	if (atomic_load_explicit(&lease->use_thread, memory_order_relaxed) != call->thread)
		change_flags(lease, 0, LEDGER_USE_HANDED_OVER);
}

/* What makes a connection one that nobody shares. */
static void note_statement(struct ledger_lease *lease, enum statement statement) {
	put32(&lease->statement_kind, (uint32_t)statement);
	if (get32(&lease->use_statement) <= STATEMENT_BEGIN)
		put32(&lease->use_statement, (uint32_t)statement);
	if (statement == STATEMENT_BEGIN && get32(&lease->use_commands) == 0)
		change_flags(lease, 0, LEDGER_USE_BEGAN_EMPTY);
	if (statement == STATEMENT_LISTEN || statement == STATEMENT_START_REPLICATION)
		change_flags(lease, 0, LEDGER_LEASE_DEDICATED);
	else if (statement == STATEMENT_UNLISTEN)
		change_flags(lease, LEDGER_LEASE_DEDICATED, 0);
}

static void begin_command(struct use_call *call, const struct recording *now, enum statement statement,
			  const void *caller, const void *mark) {
	struct ledger_lease *lease = ledger_slot_lease(&call->slot);
	bool is_in_flight = get(&lease->command_begun_ns) != 0;
	call->begun_ns = ledger_now_ns();
	if (get(&lease->use_begun_ns) == 0)
		begin_use(call, now, caller, mark);
	else if (!is_in_flight)
		go_on(call);
	note_statement(lease, statement);
	add32(&lease->commands, 1);
	add32(&lease->use_commands, 1);
	if (!is_in_flight)
		put(&lease->command_begun_ns, call->begun_ns);
	change_flags(lease, 0, LEDGER_LEASE_ACTIVE);
}

void use_enter(struct use_call *call, const struct recording *now, const struct ledger_slot *slot,
	       enum use_kind kind, enum statement statement, const void *caller, const void *mark) {
	*call = (struct use_call){.slot = *slot,
				  .thread = process_thread_id(),
				  .is_recorded = true,
				  .is_waiting = kind == USE_COMMAND};
	step_inside(call, ledger_slot_lease(slot));
	note_intruder(call, now, caller);
	if (kind != USE_RESULT)
		begin_command(call, now, statement, caller, mark);
}

/* ---- A use ends -------------------------------------------------------------------------------------------------------- */

static bool is_short(const struct ledger_lease *lease, const struct ledger_use *use) {
	return use->ended_ns - use->begun_ns < LEDGER_BATCH_NS &&
		since(get(&lease->batch_begun_ns), use->ended_ns) < LEDGER_BATCH_NS;
}

static void end_use(const struct ledger_slot *slot, uint64_t now_ns) {
	struct ledger_lease *lease = ledger_slot_lease(slot);
	struct ledger_use use = ledger_use_of(slot, now_ns);
	struct ledger_account account = use_account(slot);
	put(&lease->use_begun_ns, 0);
	ledger_take_in_use(&account, use.flags);
	change_flags(lease, LEDGER_LEASE_IN_USE | LEDGER_LEASE_IN_USE_RUN | LEDGER_USE_BEGAN_EMPTY, 0);
	if (is_short(lease, &use)) {
		ledger_batch_add(lease, &use);
		if (get32(&lease->batch_count) < LEDGER_BATCH_USES)
			return;
		use.weight = ledger_batch_flush(slot->ledger, lease, now_ns);
	} else {
		use.weight = 1 + ledger_batch_flush(slot->ledger, lease, now_ns);
		ledger_add_use(&account, &use);
		put(&lease->batch_begun_ns, now_ns);
	}
	ledger_use_keep(slot->ledger, &use);
	ledger_show_in_use(&account, now_ns);
}

static void end_command(const struct ledger_slot *slot, uint64_t now_ns) {
	struct ledger_lease *lease = ledger_slot_lease(slot);
	uint64_t span_ns = since(get(&lease->command_begun_ns), now_ns);
	put(&lease->command_begun_ns, 0);
	put(&lease->last_event_ns, now_ns);
	add(&lease->use_in_query_ns, span_ns);
	add(&lease->in_query_ns, span_ns);
	first_command_ended(slot, span_ns);
	judge_query(slot, span_ns, now_ns);
}

static uint32_t flags_of(enum use_status status) {
	switch (status) {
	case USE_IN_TRANSACTION:
		return LEDGER_LEASE_IN_TRANSACTION;
	case USE_TRANSACTION_FAILED:
		return LEDGER_LEASE_IN_TRANSACTION | LEDGER_LEASE_TRANSACTION_FAILED;
	case USE_BROKEN:
		return LEDGER_LEASE_BROKEN;
	default:
		return 0;
	}
}

/* The command that was in flight has ended: all its results are consumed, or the session is broken. */
static bool settle(const struct use_call *call, enum use_status status) {
	const struct ledger_slot *slot = &call->slot;
	struct ledger_lease *lease = ledger_slot_lease(slot);
	uint64_t now_ns = ledger_now_ns();
	bool was_broken = has_flag(lease, LEDGER_LEASE_BROKEN);
	bool is_in_transaction = status == USE_IN_TRANSACTION || status == USE_TRANSACTION_FAILED;
	end_command(slot, now_ns);
	change_flags(lease,
		     LEDGER_LEASE_ACTIVE | LEDGER_LEASE_IN_TRANSACTION | LEDGER_LEASE_TRANSACTION_FAILED,
		     flags_of(status));
	follow_transaction(call, is_in_transaction);
	if (!is_in_transaction)
		end_use(slot, now_ns);
	return status == USE_BROKEN && !was_broken;
}

bool use_leave(struct use_call *call, enum use_status status) {
	struct ledger_lease *lease = ledger_slot_lease(&call->slot);
	step_outside(call, lease);
	if (get(&lease->command_begun_ns) == 0 || status == USE_ACTIVE)
		return false;
	/* The lease may have been finished inside the call, by a callback. */
	return ledger_slot_find_again(&call->slot) && settle(call, status);
}

void use_lease_ends(struct ledger_slot *slot, uint64_t now_ns) {
	struct ledger_lease *lease = ledger_slot_lease(slot);
	if (is_transaction_of(slot))
		transaction.is_there = false;
	if (get(&lease->use_begun_ns) != 0 && get(&lease->command_begun_ns) == 0)
		judge_idle_span(slot, since(lease->last_event_ns, now_ns), now_ns);
	ledger_use_fold(slot, now_ns);
}
