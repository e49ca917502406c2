/*
 * What tests of the readers of script frames share: an interpreter's structures in memory of the test, right or wrong.
 */
#ifndef PQLEASE_TESTS_SUPPORT_FAKE_INTERPRETER_H
#define PQLEASE_TESTS_SUPPORT_FAKE_INTERPRETER_H

#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "shim/loader.h"
#include "shim/script.h"

static inline void fake_put(void *base, size_t offset, uint64_t value, size_t size_bytes) {
	memcpy((char *)base + offset, &value, size_bytes);
}

static inline void fake_point(void *base, size_t offset, const void *target) {
	fake_put(base, offset, (uintptr_t)target, sizeof target);
}

/* This program, whose symbols stand for the interpreter's. */
static inline const struct link_map *fake_object(const void *inside) {
	struct dl_find_object found;
	return loader_find(inside, &found) ? found.dlfo_link_map : NULL;
}

/* A native stack that leads through one function of the interpreter. */
static inline struct stack fake_native(uintptr_t function) {
	struct stack native = {.count = 1, .hash = 1, .pc = {function + 2}};
	return native;
}

struct fake_capture {
	enum ledger_script_reading reading;
	struct script_stack stack;
};

static inline struct fake_capture fake_capture(const struct script_runtime *runtime,
					       const struct stack *native) {
	struct fake_capture capture = {.stack = {.room = SCRIPT_FRAMES_MAX}};
	capture.reading = runtime->capture(&capture.stack, native);
	return capture;
}

/* Opened anew: nothing has proved itself. */
static inline enum ledger_script_reading fake_open(const struct script_runtime *runtime, const void *inside) {
	char version[SCRIPT_VERSION_BYTES] = "";
	return runtime->open(fake_object(inside), version);
}

/* Words that a wrong offset finds in place of a right one. */
static const uint64_t fake_wrong_words[] = {0,
					    1,
					    7,
					    4096,
					    UINT64_C(0x7fffffffffff),
					    UINT64_C(0x5555555555555555),
					    UINT64_C(0xffff888000000000),
					    UINT64_C(0xfffffffffffffff8),
					    UINT64_MAX};

/* Every word of a structure once in place of each of these; what follows must be frames or a refusal, never a fault. */
static inline void fake_spoil(const struct script_runtime *runtime, const struct stack *native, void *base,
			      size_t size_bytes) {
	for (size_t at = 0; at + 8 <= size_bytes; at += 4)
		for (size_t i = 0; i < sizeof fake_wrong_words / sizeof *fake_wrong_words; i++) {
			uint64_t kept;
			memcpy(&kept, (char *)base + at, sizeof kept);
			fake_put(base, at, fake_wrong_words[i], sizeof kept);
			fake_open(runtime, base);
			fake_capture(runtime, native);
			if (runtime->state)
				runtime->state(native);
			memcpy((char *)base + at, &kept, sizeof kept);
		}
}

#endif
