/*
 * Script frames: what the interpreters in this process are running, read without asking them.
 *
 * A runtime is one file and one line of script_runtimes.def. It is found by the objects on a captured native stack and
 * by those that the program was started with: no search, no lock of the loader's, and whatever dlopen brought is met at
 * the first stack that leads through it. Nothing here takes an interpreter's lock, allocates in it or lets it run code.
 *
 * A capture is cheap and knows no names: a hash of everything that decides what would be written, and the raw position
 * of each frame. Only a stack that was not seen before is described in words. The addresses of a runtime's objects are
 * handed out again after they are freed, so a hash is made of contents, never of addresses alone.
 *
 * Any thread, coroutine or signal handler; what a frame points to is borrowed until the hook returns.
 */
#ifndef PQLEASE_SHIM_SCRIPT_H
#define PQLEASE_SHIM_SCRIPT_H

#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/ledger_format.h"
#include "shim/stack.h"

#define SCRIPT_FRAMES_MAX 64u
#define SCRIPT_FUNCTION_BYTES 512u
#define SCRIPT_VERSION_BYTES 32u

struct script_frame {
	const void *code;  /* the runtime's own, for describe() */
	uint64_t position; /* likewise */
	uint8_t runtime;   /* number in script_runtimes.def, filled by script_append() */
	/* The interpreter's native loop was entered for this frame: the next, outer frame belongs to the loop's next native
	 * frame. A runtime that cannot tell leaves it false. */
	bool is_entry;
};

struct script_stack {
	uint32_t count;
	bool is_truncated;
	uint64_t hash;                                 /* 0 when there are no frames */
	uint32_t room;                                 /* frames that may still be appended */
	uint8_t runtime;                               /* whose turn it is */
	struct script_frame frames[SCRIPT_FRAMES_MAX]; /* innermost first, one runtime behind the other */
};

/* A frame in words. What is too long is cut; "" and 0 where unknown. Bytes are the script's own. */
struct script_text {
	char file[LEDGER_STRING_MAX_BYTES + 1];
	char function[SCRIPT_FUNCTION_BYTES];
	uint32_t line;
};

/* Raw facts about a moment, for the analyzer to judge. */
enum script_state_flag {
	SCRIPT_FINALIZING = 1u << 0,      /* the runtime is shutting down */
	SCRIPT_IN_COLLECTOR = 1u << 1,    /* its garbage collector runs */
	SCRIPT_IN_DEALLOCATION = 1u << 2, /* its innermost native frames destroy an object */
	SCRIPT_WITHOUT_FRAMES = 1u << 3   /* a runtime is in the process, but this thread runs no script */
};

struct script_state {
	uint32_t flags;
};

enum script_code {
	SCRIPT_CODE_FOREIGN,
	SCRIPT_CODE_INTERPRETER, /* stands for no script frame of its own */
	SCRIPT_CODE_LOOP         /* the function that executes script code */
};

/* ---- What a runtime is ---------------------------------------------------------------------------------------------- */

struct script_runtime {
	const char *name;
	enum ledger_frame_language language;
	/* The object that defines this symbol is the runtime. */
	const char *mark;
	/* Looks up what is needed and checks what can be checked without a frame; `version` is filled as far as it is
	 * known. Called by one thread, before any other function, and again if another object became the runtime. */
	enum ledger_script_reading (*open)(const struct link_map *object, char version[SCRIPT_VERSION_BYTES]);
	/* Appends this thread's frames, innermost first, with script_append(). `native` tells whether the runtime runs in this
	 * thread. Returns how frames are read from now on: a runtime that does not look as expected says
	 * LEDGER_SCRIPT_UNSAFE, what it appended is dropped, and it is not asked again. */
	enum ledger_script_reading (*capture)(struct script_stack *stack, const struct stack *native);
	void (*describe)(const struct script_frame *frame, struct script_text *text);
	/* Of a return address in the runtime's object. NULL: all of it is SCRIPT_CODE_INTERPRETER. */
	enum script_code (*classify)(uintptr_t pc);
	/* enum script_state_flag, of this thread now. NULL: nothing is known. */
	uint32_t (*state)(const struct stack *native);
	/* Whether it is shutting down. NULL: that takes more than a look. */
	bool (*is_over)(void);
};

/* Appends a frame. `content` is a hash of what describe() would say (file, function, line). Returns false when there is
 * no more room; the stack is then truncated, and the runtime stops. */
bool script_append(struct script_stack *stack, const struct script_frame *frame, uint64_t content);

uint64_t script_mix(uint64_t hash, uint64_t word);
uint64_t script_mix_bytes(uint64_t hash, const void *bytes, size_t length_bytes);

/* ---- For whoever captures ---------------------------------------------------------------------------------------------- */

/* Looks for runtimes among the objects that the program was started with. Once per process image, after
 * loader_remember_startup(). `depth` is the number of frames to keep, 0..SCRIPT_FRAMES_MAX; 0: none are read. */
void script_open(uint32_t depth);

/* In a forked child: another thread of the parent may have been opening a runtime. */
void script_forked(void);

/* Captures this thread's script frames. `native` is the stack captured in the same hook. */
void script_capture(struct script_stack *stack, const struct stack *native);

/* Raw facts for a release: as script_capture, not free of cost (some 100 ns). */
struct script_state script_state(const struct stack *native);

/* Whether a runtime that can tell it at once is shutting down: free to ask, at every command. */
bool script_is_over(void);

/* Whether a script runtime may be at work below: one is on the stack, or is the program. */
bool script_is_on(const struct stack *native);

/* Puts native and script frames together, innermost first: script frames stand where the interpreter's native frames
 * were. `locate` makes the frame of a native address; false leaves it out. Interns strings. Returns the number of frames
 * written, at most STACK_FRAMES_MAX + SCRIPT_FRAMES_MAX. */
typedef bool script_locate_function(struct ledger_header *ledger, uintptr_t pc,
				    const struct ledger_frame *before, struct ledger_frame *frame);
uint32_t script_merge(struct ledger_header *ledger, const struct stack *native,
		      const struct script_stack *script, script_locate_function *locate,
		      struct ledger_frame *frames);

/* What is known of the runtimes met so far: how frames of `language` are read and of which version it is. UNMET if it is
 * not in this process. */
enum ledger_script_reading script_reading(enum ledger_frame_language language, const char **version);

/* Changes whenever script_reading() may say something new. */
uint32_t script_news(void);

/* Before and after a library is unloaded: what was learned from addresses is asked again. */
void script_forget(void);

#endif
