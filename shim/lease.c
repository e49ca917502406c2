#include "shim/lease.h"

#include <stddef.h>

#include "shim/conn_table.h"
#include "shim/failure.h"
#include "shim/owner_thread.h"
#include "shim/process.h"
#include "shim/site.h"
#include "shim/site_recall.h"
#include "shim/test_name.h"
#include "shim/use.h"

/* ---- The attempt in flight on this thread -------------------------------------------------------------------- */

/* The synchronous connect that this thread is inside of, as far as is known. */
static __thread struct in_flight {
	struct ledger_slot slot;
	uint32_t generation; /* of the process: a forked child inherits the variable, not the call */
	bool is_there;
} in_flight;

static struct ledger_account account_of(const struct ledger_slot *slot) {
	const struct ledger_lease *lease = ledger_slot_lease(slot);
	return (struct ledger_account){slot->ledger, lease->pool, lease->site};
}

static uint32_t process_of(const struct ledger_slot *slot) {
	return (uint32_t)slot->word - 1;
}

/* ---- Closing ---------------------------------------------------------------------------------------------- */

/* How a lease ends, and where: the place is known of a PQfinish only. */
struct ending {
	enum ledger_counter counter;
	enum ledger_release release;
	uint32_t site;
	uint32_t facts; /* enum ledger_release_fact */
};

static uint32_t facts_of_scripts(const struct script_state *state) {
	static const struct {
		uint32_t flag;
		uint32_t fact;
	} meanings[] = {{SCRIPT_FINALIZING, LEDGER_FACT_FINALIZING},
			{SCRIPT_IN_COLLECTOR, LEDGER_FACT_COLLECTING},
			{SCRIPT_IN_DEALLOCATION, LEDGER_FACT_DEALLOCATING},
			{SCRIPT_WITHOUT_FRAMES, LEDGER_FACT_NO_SCRIPT}};
	uint32_t facts = 0;
	for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
		if (state->flags & meanings[i].flag)
			facts |= meanings[i].fact;
	return facts;
}

static uint32_t facts_of_lease(const struct ledger_lease *lease, bool tracks_uses, uint64_t now_ns) {
	bool is_orphan = ledger_is_orphan(lease->owner_gone_ns, lease->last_event_ns, now_ns);
	return (is_orphan ? LEDGER_FACT_ORPHAN : 0) |
		(tracks_uses && lease->uses == 0 ? LEDGER_FACT_UNUSED : 0);
}

/* Totals, then history, then the slot: in this order a process killed between them is at most torn. */
static void close_lease(struct ledger_slot *slot, const struct ending *ending, uint64_t now_ns) {
	struct ledger_lease *lease = ledger_slot_lease(slot);
	struct ledger_account account = account_of(slot);
	bool was_open = lease->flags & LEDGER_LEASE_ESTABLISHED;
	if (!ledger_slot_move(slot, LEDGER_LEASE_CLOSING))
		return;
	lease->ending_ns = now_ns;
	bool was_in_use = was_open && ledger_is_in_use(lease);
	uint32_t facts = ending->facts | (was_in_use ? LEDGER_FACT_IN_USE : 0);
	if (was_open)
		use_lease_ends(slot, now_ns);
	ledger_add(&account, ending->counter, 1, now_ns);
	if (ending->counter == LEDGER_FINISHED) {
		ledger_add_time(&account, LEDGER_HOLD_TIME, now_ns - lease->held_since_ns);
		ledger_add_release(&account, ending->site, facts, was_in_use ? lease->last_use_site : 0,
				   now_ns);
	}
	if (ending->counter == LEDGER_FINISHED && (ending->facts & LEDGER_FACT_UNUSED))
		ledger_add(&account, LEDGER_FINISHED_UNUSED, 1, now_ns);
	if (ending->counter == LEDGER_ABANDONED)
		ledger_add_attempt(&account, true, now_ns);
	if (ending->release == LEDGER_RELEASE_CUT_SHORT)
		ledger_add(&account, LEDGER_CUT_SHORT, 1, now_ns);
	if (was_open)
		ledger_add_open(&account, -1, now_ns);
	struct ledger_ended ended = ledger_ended_of(lease);
	ended.ended_ns = now_ns;
	ended.release = (uint8_t)ending->release;
	ended.release_site = ending->site;
	ended.release_facts = facts;
	ledger_history_add(slot->ledger, &ended);
	ledger_slot_free(slot);
}

/* ---- Cut short: longjmp, exceptions, cancellation ------------------------------------------------------------ */

static void cut_short(const struct in_flight *attempt) {
	const struct recording *now = process_recording_if_attached();
	if (!now || attempt->generation != now->generation)
		return; /* of the parent process: its own thread goes on with it */
	struct ledger_slot slot;
	if (ledger_slot_find(&slot, attempt->slot.ledger, attempt->slot.number, attempt->slot.word))
		close_lease(&slot, &(struct ending){LEDGER_ABANDONED, LEDGER_RELEASE_CUT_SHORT, 0, 0},
			    ledger_now_ns());
}

/* The program calls libpq although this thread is inside a connect: that call was left by a longjmp, an exception or a
 * cancellation. Where it was not (a callback of libpq connects, a coroutine waits on another stack) it returns after
 * all and is taken back; stack addresses could not tell the two apart. */
static void reclaim(void) {
	if (!in_flight.is_there)
		return;
	in_flight.is_there = false;
	cut_short(&in_flight);
}

static void put_in_flight(const struct lease_call *call, uint32_t generation) {
	in_flight = (struct in_flight){call->slot, generation, true};
}

static void end_flight(const struct lease_call *call) {
	if (in_flight.slot.number == call->slot.number && in_flight.slot.word == call->slot.word)
		in_flight.is_there = false;
}

/* ---- Attempts ---------------------------------------------------------------------------------------------------- */

static bool is_async(enum lease_call_kind kind) {
	return kind == LEASE_CALL_CONNECT_START || kind == LEASE_CALL_RESET_START;
}

static void fill_lease(struct ledger_lease *lease, const struct recording *now,
		       const struct lease_call *call) {
	lease->pid = now->pid;
	lease->thread = process_thread_id();
	lease->site = call->account.site;
	lease->pool = LEDGER_POOL_OTHER;
	lease->role = now->role;
	lease->test = test_name_here(now->ledger, lease->thread == now->pid);
	lease->flags = is_async(call->kind) ? LEDGER_LEASE_ASYNC : 0;
	lease->begun_ns = call->begun_ns;
	lease->attempt_begun_ns = call->begun_ns;
	lease->phase_stamp_ns = call->begun_ns;
}

static void count_begun(const struct recording *now) {
	struct ledger_process *record = ledger_unit(now->ledger, LEDGER_PROCESSES, now->process);
	if (record)
		atomic_fetch_add_explicit(&record->leases, 1, memory_order_relaxed);
}

static void begin_attempt(struct lease_call *call, const struct recording *now, const void *caller) {
	call->is_recorded = true;
	call->account = (struct ledger_account){now->ledger, LEDGER_POOL_OTHER, site_here(now, caller)};
	call->slot = (struct ledger_slot){.ledger = now->ledger, .number = LEDGER_NO_SLOT};
	if (call->kind != LEASE_CALL_PROBE)
		call->slot = ledger_slot_claim(now->ledger, now->process);
	call->begun_ns = ledger_now_ns();
	if (!ledger_slot_is_valid(&call->slot))
		return;
	fill_lease(ledger_slot_lease(&call->slot), now, call);
	count_begun(now);
	owner_thread_took(&call->slot);
	ledger_slot_move(&call->slot, LEDGER_LEASE_CONNECTING);
	put_in_flight(call, now->generation);
}

void lease_connect_begin(struct lease_call *call, enum lease_call_kind kind, const void *caller) {
	const struct recording *now = process_recording();
	*call = (struct lease_call){.kind = kind};
	if (!now)
		return;
	reclaim();
	begin_attempt(call, now, caller);
}

static void describe_endpoint(struct ledger_slot *slot, const struct lease_facts *facts) {
	struct ledger_lease *lease = ledger_slot_lease(slot);
	bool is_known = facts->endpoint.host || facts->endpoint.database || facts->endpoint.user;
	lease->pool = ledger_intern_pool(slot->ledger, lease->role, is_known ? &facts->endpoint : NULL);
	lease->backend_pid = facts->backend_pid;
	lease->server_version = facts->server_version;
	uint32_t flags = (facts->is_tls ? LEDGER_LEASE_TLS : 0) |
		(facts->is_unix_socket ? LEDGER_LEASE_UNIX_SOCKET : 0);
	atomic_fetch_or_explicit(&lease->flags, flags, memory_order_relaxed);
}

static void add_phases(struct ledger_slot *slot) {
	struct ledger_lease *lease = ledger_slot_lease(slot);
	for (int phase = 0; phase < LEDGER_PHASE_COUNT; phase++)
		if (lease->phase_ns[phase])
			ledger_add_phase_time(slot->ledger, (enum ledger_phase)phase, lease->phase_ns[phase]);
}

/* A reset counts apart and keeps the lease; the first success makes it one. */
static void established(struct ledger_slot *slot, const struct lease_facts *facts, bool is_reset,
			uint64_t now_ns) {
	struct ledger_lease *lease = ledger_slot_lease(slot);
	bool was_open = lease->flags & LEDGER_LEASE_ESTABLISHED;
	uint64_t duration_ns = now_ns - lease->attempt_begun_ns;
	if (!was_open)
		describe_endpoint(slot, facts);
	lease->backend_pid = facts->backend_pid;
	lease->application_name = ledger_intern_string(slot->ledger, facts->application_name);
	ledger_pool_application_name(slot->ledger, lease->pool, lease->application_name);
	if (!ledger_slot_move(slot, LEDGER_LEASE_ESTABLISHING))
		return;
	struct ledger_account account = account_of(slot);
	if (is_reset) {
		ledger_add(&account, LEDGER_RESETS, 1, now_ns);
		ledger_add(&account, LEDGER_RESETS_OK, 1, now_ns);
	} else {
		lease->connect_ns = duration_ns;
		ledger_add(&account, LEDGER_ESTABLISHED, 1, now_ns);
		ledger_add_time(&account, LEDGER_CONNECT_TIME, duration_ns);
		ledger_add_attempt(&account, false, now_ns);
		add_phases(slot);
	}
	if (!was_open) {
		if (is_reset)
			ledger_add(&account, LEDGER_REVIVED, 1, now_ns);
		lease->held_since_ns = now_ns;
		ledger_add_open(&account, 1, now_ns);
		if (!(lease->flags & LEDGER_LEASE_ASYNC))
			use_lease_taken(&account, now_ns);
	}
	lease->established_ns = now_ns;
	lease->last_event_ns = now_ns;
	atomic_fetch_or_explicit(&lease->flags, LEDGER_LEASE_ESTABLISHED, memory_order_relaxed);
	ledger_slot_move(slot, LEDGER_LEASE_OPEN);
}

static void failed(struct ledger_slot *slot, const struct lease_facts *facts, bool is_reset,
		   uint64_t now_ns) {
	struct ledger_lease *lease = ledger_slot_lease(slot);
	if (lease->pool == LEDGER_POOL_OTHER)
		describe_endpoint(slot, facts);
	lease->failure = facts->failure + 1;
	lease->last_event_ns = now_ns;
	if (!ledger_slot_move(slot, LEDGER_LEASE_FAILING))
		return;
	struct ledger_account account = account_of(slot);
	if (is_reset) {
		ledger_add(&account, LEDGER_RESETS, 1, now_ns);
	} else {
		ledger_add(&account, LEDGER_FAILED, 1, now_ns);
		ledger_add_time(&account, LEDGER_FAILED_TIME, now_ns - lease->attempt_begun_ns);
		ledger_add_attempt(&account, true, now_ns);
		ledger_add_failure(slot->ledger, facts->failure, now_ns);
	}
	ledger_slot_move(slot, LEDGER_LEASE_FAILED);
	if (failure_is_exhaustion((enum failure_reason)facts->failure))
		ledger_snapshot_take(&account, process_of(slot), facts->failure, now_ns);
}

static void settle(struct ledger_slot *slot, const struct lease_facts *facts, bool is_reset) {
	uint64_t now_ns = ledger_now_ns();
	if (facts->outcome == LEASE_ESTABLISHED)
		established(slot, facts, is_reset, now_ns);
	else if (facts->outcome == LEASE_FAILED)
		failed(slot, facts, is_reset, now_ns);
}

/* The address came back while we held it: somebody finished it where no hook could see. */
static void close_unseen(struct ledger_header *ledger, const void *conn, uint32_t generation) {
	struct conn_entry before = conn_table_find(conn);
	struct ledger_slot slot;
	if (before.state == CONN_HELD && before.generation == generation && before.slot != LEDGER_NO_SLOT &&
	    ledger_slot_find(&slot, ledger, before.slot, before.word))
		close_lease(&slot, &(struct ending){LEDGER_FINISH_UNSEEN, LEDGER_RELEASE_UNSEEN, 0, 0},
			    ledger_now_ns());
}

/* A lease whose end could not be recognised is not begun: it would look like a leak. */
static void give_up(struct lease_call *call) {
	ledger_count_loss(call->account.ledger, LEDGER_LOST_POINTERS);
	if (ledger_slot_is_valid(&call->slot))
		ledger_slot_free(&call->slot);
	call->slot.number = LEDGER_NO_SLOT;
}

static void hold_address(struct lease_call *call, const void *conn, uint32_t instance) {
	const struct recording *now = process_recording_if_attached();
	if (!now)
		return;
	struct conn_entry entry = {CONN_HELD, now->generation, instance, call->slot.number, call->slot.word};
	close_unseen(now->ledger, conn, now->generation);
	if (!conn_table_put(conn, &entry))
		give_up(call);
	else if (ledger_slot_is_valid(&call->slot))
		atomic_store_explicit(&ledger_slot_lease(&call->slot)->conn, (uintptr_t)conn,
				      memory_order_relaxed);
}

/* The attempt was taken for cut short meanwhile, see reclaim. */
static bool was_taken_away(const struct lease_call *call) {
	struct ledger_slot slot;
	return !ledger_slot_find(&slot, call->slot.ledger, call->slot.number, call->slot.word) ||
		ledger_slot_state(&slot) != LEDGER_LEASE_CONNECTING;
}

/* The library had no memory for a PGconn: the attempt failed and there is nothing to finish. */
static void failed_without_conn(struct ledger_slot *slot, uint64_t now_ns) {
	struct lease_facts facts = {.outcome = LEASE_FAILED, .failure = FAILURE_OUT_OF_MEMORY};
	failed(slot, &facts, false, now_ns);
	close_lease(slot, &(struct ending){LEDGER_FAILED_FINISHED, LEDGER_RELEASE_FAILED, 0, 0}, now_ns);
}

/* It was booked as cut short and came back after all: the booking is undone, so that totals stay exact. Its entry in
 * the history stays. */
static void take_back(struct lease_call *call) {
	const struct recording *now = process_recording_if_attached();
	call->slot.number = LEDGER_NO_SLOT;
	if (!now)
		return;
	uint64_t now_ns = ledger_now_ns();
	ledger_add(&call->account, LEDGER_ABANDONED, (uint64_t)-1, now_ns);
	ledger_add(&call->account, LEDGER_CUT_SHORT, (uint64_t)-1, now_ns);
	call->slot = ledger_slot_claim(now->ledger, now->process);
	if (!ledger_slot_is_valid(&call->slot))
		return;
	fill_lease(ledger_slot_lease(&call->slot), now, call);
	owner_thread_took(&call->slot);
	ledger_slot_move(&call->slot, LEDGER_LEASE_CONNECTING);
}

void lease_connect_end(struct lease_call *call, const void *conn, uint32_t instance,
		       const struct lease_facts *facts) {
	if (!call->is_recorded)
		return;
	end_flight(call);
	if (ledger_slot_is_valid(&call->slot) && was_taken_away(call))
		take_back(call);
	if (conn)
		hold_address(call, conn, instance);
	if (!ledger_slot_is_valid(&call->slot))
		return;
	if (!conn) {
		failed_without_conn(&call->slot, ledger_now_ns());
		return;
	}
	if (facts->outcome == LEASE_PENDING)
		describe_endpoint(&call->slot, facts);
	settle(&call->slot, facts, false);
}

void lease_probe_end(struct lease_call *call, bool was_answered) {
	if (!call->is_recorded)
		return;
	const struct recording *now = process_recording_if_attached();
	uint64_t now_ns = ledger_now_ns();
	call->account.pool = now ? ledger_intern_pool(now->ledger, now->role, NULL) : LEDGER_POOL_OTHER;
	ledger_add(&call->account, LEDGER_PROBES, 1, now_ns);
	if (was_answered)
		ledger_add(&call->account, LEDGER_PROBES_ANSWERED, 1, now_ns);
}

/* ---- What is known of a PGconn ------------------------------------------------------------------------------------- */

/* The slot of a connection that this very process took. */
static bool find_held(struct ledger_slot *slot, const void *conn) {
	const struct recording *now = process_recording();
	struct conn_entry entry = conn_table_find(conn);
	return now && entry.state == CONN_HELD && entry.generation == now->generation &&
		entry.slot != LEDGER_NO_SLOT && ledger_slot_find(slot, now->ledger, entry.slot, entry.word);
}

bool lease_instance(const void *conn, uint32_t *instance) {
	struct conn_entry entry = conn_table_find(conn);
	*instance = entry.instance;
	return entry.state == CONN_HELD || entry.state == CONN_BORROWED;
}

void lease_is_cancel_handle(const void *handle) {
	conn_table_forget(handle);
}

/* ---- Polls ---------------------------------------------------------------------------------------------------------------- */

/* libpq polls for itself only inside a synchronous call of this thread. */
static bool find_in_flight(struct ledger_slot *slot) {
	const struct recording *now = process_recording_if_attached();
	return now && in_flight.is_there && in_flight.generation == now->generation &&
		ledger_slot_find(slot, in_flight.slot.ledger, in_flight.slot.number, in_flight.slot.word);
}

void lease_poll_begin(struct lease_poll *poll, const void *conn, enum ledger_phase phase) {
	poll->phase = phase;
	poll->is_recorded = conn ? find_held(&poll->slot, conn) : find_in_flight(&poll->slot);
	if (!poll->is_recorded)
		return;
	enum ledger_lease_state state = ledger_slot_state(&poll->slot);
	poll->is_recorded = state == LEDGER_LEASE_CONNECTING || state == LEDGER_LEASE_RESETTING;
}

void lease_poll_end(struct lease_poll *poll, const struct lease_facts *facts) {
	if (!poll->is_recorded)
		return;
	struct ledger_lease *lease = ledger_slot_lease(&poll->slot);
	uint64_t now_ns = ledger_now_ns();
	uint64_t stamp_ns = atomic_load_explicit(&lease->phase_stamp_ns, memory_order_relaxed);
	atomic_fetch_add_explicit(&lease->phase_ns[poll->phase], now_ns - stamp_ns, memory_order_relaxed);
	atomic_store_explicit(&lease->phase_stamp_ns, now_ns, memory_order_relaxed);
	atomic_fetch_add_explicit(&lease->polls, 1, memory_order_relaxed);
	if (facts)
		settle(&poll->slot, facts, ledger_slot_state(&poll->slot) == LEDGER_LEASE_RESETTING);
}

/* ---- Finish ----------------------------------------------------------------------------------------------------------------- */

static struct ending ending_of(const struct ledger_slot *slot) {
	if (ledger_slot_lease(slot)->flags & LEDGER_LEASE_ESTABLISHED)
		return (struct ending){LEDGER_FINISHED, LEDGER_RELEASE_FINISHED, 0, 0};
	if (ledger_slot_state(slot) == LEDGER_LEASE_CONNECTING)
		return (struct ending){LEDGER_ABANDONED, LEDGER_RELEASE_ABANDONED, 0, 0};
	return (struct ending){LEDGER_FAILED_FINISHED, LEDGER_RELEASE_FAILED, 0, 0};
}

static void finish_again(const struct recording *now, const void *caller) {
	struct ledger_account account = {now->ledger, ledger_intern_pool(now->ledger, now->role, NULL),
					 site_here(now, caller)};
	ledger_add_misuse(&account, LEDGER_DOUBLE_FINISH, LEDGER_FINDING_DOUBLE_FINISH, ledger_now_ns());
}

static void finish_held(const struct recording *now, const struct conn_entry *entry, const void *conn,
			const void *caller, const void *mark) {
	struct ledger_slot slot;
	if (!conn_table_finish(conn)) {
		finish_again(now, caller); /* another thread came between */
		return;
	}
	if (entry->slot == LEDGER_NO_SLOT || !ledger_slot_find(&slot, now->ledger, entry->slot, entry->word))
		return;
	struct ending ending = ending_of(&slot);
	struct script_state scripts;
	uint64_t now_ns = ledger_now_ns(); /* what follows is our own time, not the program's */
	ending.site = site_recall_release(now, caller, mark, now_ns, &scripts);
	ending.facts = facts_of_scripts(&scripts) |
		facts_of_lease(ledger_slot_lease(&slot), now->tracks_uses, now_ns);
	close_lease(&slot, &ending, now_ns);
}

/* ---- Inherited over fork --------------------------------------------------------------------------------------------------- */

/* Where the other process took the lease, while its slot still tells. */
static struct ledger_ended describe_borrowed(const struct recording *now, const struct conn_entry *entry,
					     uint32_t use_site, uint64_t now_ns) {
	struct ledger_slot slot;
	struct ledger_ended borrowed = {.release = LEDGER_RELEASE_BY_OTHER_PROCESS,
					.release_site = use_site,
					.pid = now->pid,
					.thread = process_thread_id(),
					.role = now->role,
					.ended_ns = now_ns};
	if (entry->slot != LEDGER_NO_SLOT && ledger_slot_find(&slot, now->ledger, entry->slot, entry->word)) {
		const struct ledger_lease *lease = ledger_slot_lease(&slot);
		borrowed.site = lease->site;
		borrowed.pool = lease->pool;
		borrowed.backend_pid = lease->backend_pid;
		borrowed.begun_ns = lease->begun_ns;
		borrowed.established_ns = lease->established_ns;
	}
	return borrowed;
}

/* Said once for every connection and process: at its first use, or at its finish if that comes first. */
static void borrow(const struct recording *now, const struct conn_entry *entry, const void *conn,
		   const void *caller) {
	if (!conn_table_borrow(conn))
		return;
	uint64_t now_ns = ledger_now_ns();
	uint32_t site = site_here(now, caller);
	struct ledger_ended borrowed = describe_borrowed(now, entry, site, now_ns);
	struct ledger_account account = {now->ledger, borrowed.pool, site};
	ledger_add_misuse(&account, LEDGER_INHERITED_USE, LEDGER_FINDING_INHERITED, now_ns);
	ledger_example_add(&account, &borrowed);
}

static bool is_inherited(const struct recording *now, const struct conn_entry *entry) {
	return (entry->state == CONN_HELD || entry->state == CONN_BORROWED) &&
		entry->generation != now->generation;
}

static void used_after_finish(const struct recording *now, const void *caller) {
	struct ledger_account account = {now->ledger, ledger_intern_pool(now->ledger, now->role, NULL),
					 site_here(now, caller)};
	ledger_add_misuse(&account, LEDGER_USE_AFTER_FINISH, LEDGER_FINDING_USE_AFTER_FINISH,
			  ledger_now_ns());
}

/* ---- Uses ---------------------------------------------------------------------------------------------------------------- */

/* Only a forked child can meet a connection of another process. */
static bool needs_no_look(const struct recording *now) {
	return !now->tracks_uses && now->generation == 1;
}

static bool find_used(struct ledger_slot *slot, const struct recording *now, const void *conn,
		      enum use_kind kind, const void *caller) {
	struct conn_entry entry = conn_table_find(conn);
	if (entry.state == CONN_HELD && entry.generation == now->generation)
		return now->tracks_uses && entry.slot != LEDGER_NO_SLOT &&
			ledger_slot_find(slot, now->ledger, entry.slot, entry.word) &&
			ledger_slot_state(slot) == LEDGER_LEASE_OPEN;
	if (kind != USE_RESULT && entry.state == CONN_HELD)
		borrow(now, &entry, conn, caller);
	if (kind != USE_RESULT && entry.state == CONN_FINISHED && entry.generation == now->generation &&
	    now->tracks_uses)
		used_after_finish(now, caller);
	return false;
}

void lease_use_begin(struct use_call *call, const void *conn, enum use_kind kind, const char *text,
		     const void *caller) {
	const struct recording *now = process_recording();
	struct ledger_slot slot;
	call->is_recorded = false;
	if (now && !needs_no_look(now) && find_used(&slot, now, conn, kind, caller))
		use_enter(call, now, &slot, kind, statement_of(text), caller, call);
}

bool lease_use_end(struct use_call *call, enum use_status status) {
	return use_leave(call, status);
}

/* A pooler lets connect at once, and refuses when the first command has waited in vain: it closes the session then, and no
 * server went away. */
void lease_use_broken(const struct use_call *call, const struct lease_facts *facts) {
	const struct ledger_lease *lease = ledger_slot_lease(&call->slot);
	struct ledger_account account = {call->slot.ledger, lease->pool, lease->last_use_site};
	uint64_t now_ns = ledger_now_ns();
	if (!failure_is_exhaustion((enum failure_reason)facts->failure)) {
		ledger_add_misuse(&account, LEDGER_SERVER_CLOSED, LEDGER_FINDING_SERVER_CLOSED, now_ns);
		return;
	}
	ledger_add_failure(account.ledger, facts->failure, now_ns);
	ledger_snapshot_take(&account, process_of(&call->slot), facts->failure, now_ns);
}

/* Generation of a slot word; with it a slot is the same lease even after it became FREE. */
static uint32_t slot_generation(uint64_t word) {
	return word >> 32 & 0xffffff;
}

/* The owner's books: if it still holds the lease, it will leave nothing behind; if it has ended and the lease was
 * counted as left open, that is taken back. A slot that was given to another lease meanwhile tells nothing. */
static void settle_with_owner(const struct recording *now, const struct conn_entry *entry,
			      uint32_t release_site) {
	struct ledger_slot slot = {.ledger = now->ledger, .number = entry->slot};
	struct ledger_lease *lease = entry->slot != LEDGER_NO_SLOT ? ledger_slot_lease(&slot) : NULL;
	uint64_t word = lease ? atomic_load_explicit(&lease->word, memory_order_acquire) : 0;
	if (!lease || slot_generation(word) != slot_generation(entry->word))
		return;
	/* Who folds it marks the same word: the second of the two sees the first, and takes it back. */
	uint32_t flags = atomic_fetch_or(&lease->flags, LEDGER_LEASE_FINISHED_ELSEWHERE);
	if (slot_generation(atomic_load(&lease->word)) != slot_generation(entry->word)) {
		/* The slot became a stranger's in between: its leases are its own. */
		atomic_fetch_and(&lease->flags, ~(uint32_t)LEDGER_LEASE_FINISHED_ELSEWHERE);
		return;
	}
	if (flags & LEDGER_LEASE_FINISHED_ELSEWHERE)
		return;
	uint32_t how = flags >> LEDGER_LEASE_LEFT_HOW_SHIFT;
	enum ledger_left left = flags & LEDGER_LEASE_LEFT_ORPHANED ? LEDGER_LEFT_ORPHANED : LEDGER_LEFT_OPEN;
	struct ledger_account account = {now->ledger, lease->pool, lease->site};
	if (flags & LEDGER_LEASE_ESTABLISHED)
		ledger_add_release(&account, release_site, LEDGER_FACT_OTHER_PROCESS, 0, ledger_now_ns());
	if ((flags & LEDGER_LEASE_LEFT) && how < LEDGER_HOW_ENDED_COUNT)
		ledger_take_back_unreleased(&account, left, (enum ledger_how_ended)how, ledger_now_ns());
}

/* The lease is another process's; this ends its session all the same. */
static void finish_inherited(const struct recording *now, const struct conn_entry *entry, const void *conn,
			     const void *caller) {
	borrow(now, entry, conn, caller);
	struct ledger_account account = {now->ledger, LEDGER_POOL_OTHER, site_here(now, caller)};
	settle_with_owner(now, entry, account.site);
	conn_table_finish(conn);
	ledger_add(&account, LEDGER_INHERITED_FINISH, 1, ledger_now_ns());
}

/* ---- Reset ------------------------------------------------------------------------------------------------------------ */

/* What comes of it is no reset of the other process's lease. */
static void reset_inherited(struct lease_call *call, const struct recording *now,
			    const struct conn_entry *entry, const void *conn, const void *caller) {
	finish_inherited(now, entry, conn, caller);
	begin_attempt(call, now, caller);
	hold_address(call, conn, entry->instance);
}

void lease_reset_begin(struct lease_call *call, enum lease_call_kind kind, const void *conn,
		       const void *caller) {
	*call = (struct lease_call){.kind = kind};
	const struct recording *now = process_recording();
	if (!now)
		return;
	reclaim();
	struct conn_entry entry = conn_table_find(conn);
	if (is_inherited(now, &entry))
		reset_inherited(call, now, &entry, conn, caller);
	if (call->is_recorded || !find_held(&call->slot, conn))
		return;
	struct ledger_lease *lease = ledger_slot_lease(&call->slot);
	if (lease->flags & LEDGER_LEASE_ESTABLISHED) {
		use_lease_ends(&call->slot, ledger_now_ns());
		lease->use_flags = 0;
		lease->idle_ns = 0;
	}
	lease->resets++;
	lease->attempt_begun_ns = ledger_now_ns();
	lease->phase_stamp_ns = lease->attempt_begun_ns;
	if (is_async(kind))
		atomic_fetch_or_explicit(&lease->flags, LEDGER_LEASE_ASYNC, memory_order_relaxed);
	else
		atomic_fetch_and_explicit(&lease->flags, ~(uint32_t)LEDGER_LEASE_ASYNC, memory_order_relaxed);
	call->is_recorded = ledger_slot_move(&call->slot, LEDGER_LEASE_RESETTING);
}

void lease_reset_end(struct lease_call *call, const struct lease_facts *facts) {
	if (!call->is_recorded || !ledger_slot_is_valid(&call->slot))
		return;
	end_flight(call);
	settle(&call->slot, facts, ledger_slot_state(&call->slot) == LEDGER_LEASE_RESETTING);
}

/* ---- Finish, of whichever --------------------------------------------------------------------------------------------------- */

void lease_finish(const void *conn, const void *caller) {
	const struct recording *now = conn ? process_recording() : NULL;
	if (!now)
		return;
	reclaim();
	struct conn_entry entry = conn_table_find(conn);
	if (is_inherited(now, &entry))
		finish_inherited(now, &entry, conn, caller);
	else if (entry.state == CONN_HELD)
		finish_held(now, &entry, conn, caller, __builtin_frame_address(0));
	else if (entry.state == CONN_FINISHED && entry.generation == now->generation)
		finish_again(now, caller);
}
