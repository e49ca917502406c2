/*
 * The test that is running: pytest names it in PYTEST_CURRENT_TEST before each phase, by putenv; for others
 * PQLEASE_TEST names it when the process starts.
 *
 * The environment is read beside the constructor on the main thread alone: a setenv beside another thread's getenv
 * crashes. Other threads take what the main thread saw last, or what the process started with.
 */
#ifndef PQLEASE_SHIM_TEST_NAME_H
#define PQLEASE_SHIM_TEST_NAME_H

#include <stdbool.h>
#include <stdint.h>

struct ledger_header;

/* Constructor only. `fallback` (PQLEASE_TEST) must live as long as the process; "" for none. */
void test_name_init(char *const *environment, const char *fallback);

/* String id of the running test's name, 0 for none. No lock, no allocation; a search of the environment on the main
 * thread, else a load. A parameter list that may hold a secret ("[host=a password=b]") is left out. */
uint32_t test_name_here(struct ledger_header *ledger, bool is_main_thread);

#endif
