/*
 * The life of lease slots and process records under kills: the protocol of shim/ledger_slots.c and
 * shim/ledger_processes.c. An `atomic` is one access to shared memory and what its process then does on its own.
 *
 * Each BROKEN_* variant takes one precaution away; tests/model/check proves that the checker then finds a
 * counterexample, and that it finds none when all are in place:
 *
 *   BROKEN_REAPER_WITHOUT_CAS   the reaper's mark is stored, not compared and swapped
 *   BROKEN_STALE_WORD           a record taken for reaping is not looked at again
 *   BROKEN_WIPED_REAPER         a new tenant of a record clears the mark of whoever holds it
 *   BROKEN_FOLD_OF_LIVING       the end mark folds slots that other threads are in the middle of changing
 *   BROKEN_REUSE_WHILE_ALIVE    an ended record gets a new tenant while threads of the old one still run
 *
 * Process 0 is dead from the beginning and left a lease, perhaps half reaped. Clients attach and take one lease
 * each; EXITS of them end by their own mark while the thread with the lease is still at work. The reaper has
 * REAPER_THREADS threads, which share one mark. KILLS processes are killed, at any step. At the end the monitor
 * reaps what is left and compares the totals with what happened.
 */
#ifndef SLOTS
#define SLOTS 1
#endif
#ifndef RECORDS
#define RECORDS 1
#endif
#ifndef CLIENTS
#define CLIENTS 2
#endif
#ifndef EXITS
#define EXITS 0
#endif
#ifndef REAPER_THREADS
#define REAPER_THREADS 0
#endif
#ifndef KILLS
#define KILLS 1
#endif

#define REAPER (CLIENTS + 1)
#define MONITOR (CLIENTS + 2)
#define PROCESSES (CLIENTS + 3)

/* A word is state, generation and owner: of a slot the record's number plus 1, of a record the process. */
#define WORD(state, generation, owner) ((state) + 8 * ((generation) % 16) + 128 * (owner))
#define STATE(word) ((word) % 8)
#define GENERATION(word) (((word) / 8) % 16)
#define OWNER(word) ((word) / 128)
#define MOVED(word, state) ((word) - STATE(word) + (state))
#define IS_SAME_TENANT(a, b) ((a) / 8 == (b) / 8)

/* Slots */
#define FREE 0
#define CLAIMED 1
#define CONNECTING 2
#define ESTABLISHING 3
#define OPEN 4
#define CLOSING 5
#define FOLDING 6
#define IS_BETWEEN(state) ((state) == CLAIMED || (state) == ESTABLISHING || (state) == CLOSING || (state) == FOLDING)

/* Records */
#define VACANT 0
#define TAKEN 1
#define RUNNING 2
#define ENDED 3
#define REAPING 4
#define FOLDED 5
#define IS_TENANTED(state) ((state) == TAKEN || (state) == RUNNING || (state) == ENDED || (state) == REAPING)

#define NOBODY 15

short slot_word[SLOTS];
short record_word[RECORDS];
byte record_reaper[RECORDS]; /* who folds the slots */

/* What only the checker sees. */
bool alive[PROCESSES];
byte record_of[PROCESSES]; /* number plus 1 */
byte mover[SLOTS];         /* who brought the slot into its state */
byte tenant[SLOTS];        /* who claimed it */
byte deaths;

/* Totals, and what they should say. */
byte begun;
byte finished;
byte unreleased;
byte torn;

inline compare_and_swap(place, seen, next) {
	if
	:: place == seen -> place = next; is_done = true
	:: else -> is_done = false
	fi
}

inline move_slot(state) {
	compare_and_swap(slot_word[slot], held, MOVED(held, state));
	if
	:: is_done -> held = MOVED(held, state); mover[slot] = me
	:: else
	fi
}

inline free_slot() {
	compare_and_swap(slot_word[slot], held, WORD(FREE, GENERATION(held), 0));
	held = 0
}

/* A plain store into the slot: nobody else may be its tenant. */
inline write_slot() {
	assert(IS_SAME_TENANT(slot_word[slot], held))
}

/* ---- Reaping -------------------------------------------------------------------------------------------- */

#ifdef BROKEN_FOLD_OF_LIVING
#define IS_TO_CLEAR(state, is_gone) IS_BETWEEN(state)
#define IS_TO_FOLD(state, is_gone) ((state) == OPEN || (state) == CONNECTING)
#else
/* The owner of a connecting slot writes its endpoint before it moves it. */
#define IS_TO_CLEAR(state, is_gone) ((is_gone) && IS_BETWEEN(state))
#define IS_TO_FOLD(state, is_gone) ((state) == OPEN || ((is_gone) && (state) == CONNECTING))
#endif

/* Only the dead are in the middle of something for ever. */
inline count_torn() {
	assert(!alive[mover[slot]] || slot_word[slot] != held);
	if
	:: STATE(held) != CLAIMED -> torn++
	:: else
	fi
}

inline fold_slots(is_gone) {
	do
	:: atomic {
		slot < SLOTS ->
		held = slot_word[slot];
		if
		:: OWNER(held) != record + 1 -> held = 0; slot++
		:: OWNER(held) == record + 1 ->
			if
			:: IS_TO_CLEAR(STATE(held), is_gone) -> step = 1
			:: IS_TO_FOLD(STATE(held), is_gone) ->
				assert(tenant[slot] == OWNER(word)); /* booked on whom it belonged to */
				step = 2
			:: else -> held = 0; slot++
			fi
		fi
	   }
	   if
	   :: atomic { step == 1 -> count_torn(); step = 3 }
	   :: atomic { step == 2 -> move_slot(FOLDING); step = (is_done -> 4 : 5) }
	   :: atomic { step == 0 -> skip }
	   fi;
	   if
	   :: atomic { step == 4 -> unreleased++; step = 3 }
	   :: atomic { step != 4 -> skip }
	   fi;
	   if
	   :: atomic { step == 3 -> free_slot(); step = 0; slot++ }
	   :: atomic { step == 5 -> held = 0; step = 0; slot++ }
	   :: atomic { step == 0 -> skip }
	   fi
	:: atomic { slot >= SLOTS -> slot = 0; break }
	od
}

/* Makes `me` the only one who folds this record. The threads of one process share its mark. */
inline take_reaping() {
	atomic { seen = record_reaper[record]; is_done = (seen == NOBODY || !alive[seen]) }
	if
#ifdef BROKEN_REAPER_WITHOUT_CAS
	:: atomic { is_done -> record_reaper[record] = me; seen = 0 }
#else
	:: atomic { is_done -> compare_and_swap(record_reaper[record], seen, me); seen = 0 }
#endif
	:: atomic { else -> seen = 0 }
	fi
}

inline release_reaping() {
	atomic { record_reaper[record] = NOBODY; is_done = false; word = 0 }
}

/* `word` was seen before the mark was taken. */
#ifdef BROKEN_STALE_WORD
#define IS_MINE_TO_FOLD (STATE(word) == REAPING)
#else
#define IS_MINE_TO_FOLD false
#endif

inline fold_dead() {
	take_reaping();
	if
	:: is_done ->
		atomic {
			if
			:: IS_MINE_TO_FOLD
			:: else -> compare_and_swap(record_word[record], word, MOVED(word, REAPING))
			fi;
			word = MOVED(word, REAPING)
		}
		if
		:: is_done ->
			fold_slots(true);
			atomic { compare_and_swap(record_word[record], word, MOVED(word, FOLDED)) }
		:: else
		fi;
		release_reaping()
	:: else -> word = 0
	fi
}

inline reap() {
	record = 0;
	do
	:: record < RECORDS ->
		word = record_word[record];
		if
		:: IS_TENANTED(STATE(word)) && !alive[OWNER(word)] -> fold_dead()
		:: else -> word = 0
		fi;
		record++
	:: else -> break
	od;
	record = 0
}

/* ---- Clients --------------------------------------------------------------------------------------------- */

#ifdef BROKEN_REUSE_WHILE_ALIVE
#define IS_VACANT(state) ((state) == VACANT || (state) == FOLDED || (state) == ENDED)
#else
#define IS_VACANT(state) ((state) == VACANT || (state) == FOLDED)
#endif

inline claim_record() {
#if RECORDS > 1
	select(record : 0 .. RECORDS - 1);
#endif
	word = record_word[record];
	if
	:: atomic {
		IS_VACANT(STATE(word)) ->
		compare_and_swap(record_word[record], word, WORD(TAKEN, GENERATION(word) + 1, me));
		word = WORD(TAKEN, GENERATION(word) + 1, me)
	   }
	:: atomic { else -> is_done = false }
	fi;
	if
	:: is_done ->
#ifdef BROKEN_WIPED_REAPER
		record_reaper[record] = NOBODY;
#endif
		atomic {
			compare_and_swap(record_word[record], word, MOVED(word, RUNNING));
			assert(is_done);
			record_of[me] = record + 1;
			word = 0
		}
	:: else -> word = 0
	fi
}

inline claim_slot() {
#if SLOTS > 1
	select(slot : 0 .. SLOTS - 1);
#endif
	held = slot_word[slot];
	if
	:: atomic {
		STATE(held) == FREE ->
		compare_and_swap(slot_word[slot], held, WORD(CLAIMED, GENERATION(held) + 1, record + 1));
		if
		:: is_done -> held = slot_word[slot]; mover[slot] = me; tenant[slot] = me
		:: else
		fi
	   }
	:: atomic { else -> is_done = false }
	fi
}

#define STOP_UNLESS_DONE if :: is_done :: else -> goto over fi

proctype client(byte me) provided (alive[me]) {
	short word, held;
	byte record, slot, seen, step;
	bool is_done;

	reap();
	claim_record();
	atomic { STOP_UNLESS_DONE }
	atomic { claim_slot() }
	atomic { STOP_UNLESS_DONE; write_slot() }
	atomic { move_slot(CONNECTING); assert(is_done); begun++ }
	write_slot(); /* the endpoint */
	atomic { move_slot(ESTABLISHING); STOP_UNLESS_DONE }
	write_slot(); /* and the totals */
	atomic { move_slot(OPEN); STOP_UNLESS_DONE }
	if
	:: goto over /* never finished */
	:: atomic { move_slot(CLOSING); STOP_UNLESS_DONE }
	fi;
	finished++;
	atomic { free_slot() }
over:
	skip
}

/* The main thread of a client returns: its mark, what can be folded at once, then it is gone. */
proctype exit(byte me) provided (alive[me]) {
	short word, held;
	byte record, slot, seen, step;
	bool is_done;

	atomic { record_of[me] != 0 -> record = record_of[me] - 1; word = record_word[record] }
	atomic {
		compare_and_swap(record_word[record], word, MOVED(word, ENDED));
		assert(is_done)
	}
	take_reaping();
	if
	:: is_done -> fold_slots(false); release_reaping()
	:: else
	fi;
	atomic { deaths++; alive[me] = false }
}

proctype reaper_thread(byte me) provided (alive[me]) {
	short word, held;
	byte record, slot, seen, step;
	bool is_done;

	reap()
}

proctype killer() {
	byte kills, victim;
	do
	:: atomic {
		kills < KILLS ->
		select(victim : 1 .. REAPER);
		if
		:: alive[victim] -> alive[victim] = false; deaths++
		:: else
		fi;
		victim = 0;
		kills++
	   }
	:: break
	od
}

/* ---- The judgement ----------------------------------------------------------------------------------------- */

/* When nobody can go on, whoever still lives dies where it is. */
proctype monitor(byte me) {
	short word, held;
	byte record, slot, seen, step;
	bool is_done;

	atomic {
		timeout;
		for (slot : 1 .. REAPER) {
			alive[slot] = false
		}
		slot = 0;
		reap();
		for (slot in slot_word) {
			assert(STATE(slot_word[slot]) == FREE) /* no slot is lost for ever */
		}
		assert(finished + unreleased <= begun); /* none is counted twice */
		assert(begun <= finished + unreleased + torn); /* none is forgotten */
		assert(torn <= deaths + 1) /* each death tears one at most */
	}
}

init {
	byte i;
	atomic {
		for (i : 1 .. PROCESSES - 1) { alive[i] = true }
		for (i in record_reaper) { record_reaper[i] = NOBODY }
		begun = 1;
		if
		:: record_word[0] = WORD(RUNNING, 1, 0); slot_word[0] = WORD(OPEN, 1, 1)
		:: record_word[0] = WORD(REAPING, 1, 0); slot_word[0] = WORD(FOLDING, 1, 1); record_reaper[0] = 0
		fi;
		for (i : 1 .. CLIENTS) { run client(i) }
#if EXITS > 0
		for (i : 1 .. EXITS) { run exit(i) }
#endif
#if REAPER_THREADS > 0
		for (i : 1 .. REAPER_THREADS) { run reaper_thread(REAPER) }
#endif
		run killer();
		run monitor(MONITOR)
	}
}
