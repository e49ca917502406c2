/*
 * Which sanitizer a test was built with, for the few tests whose subject one of them does not allow.
 */
#ifndef PQLEASE_TESTS_UNIT_SUPPORT_SANITIZERS_H
#define PQLEASE_TESTS_UNIT_SUPPORT_SANITIZERS_H

#ifdef __has_feature
#define IS_UNDER_ASAN __has_feature(address_sanitizer)
#define IS_UNDER_TSAN __has_feature(thread_sanitizer)
#else
#define IS_UNDER_ASAN 0
#define IS_UNDER_TSAN 0
#endif

/* Ends a test that says why. */
#define LEAVE_OUT(why)                                  \
	do {                                            \
		print_message("# left out: %s\n", why); \
		return;                                 \
	} while (0)

#endif
