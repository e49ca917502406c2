/*
 * What the fuzz targets share. A target is one file `fuzz_<what>.c` with one libFuzzer entry; it prints nothing and
 * ends by a sanitizer, a time-out or FUZZ_EXPECT if what it looks at is wrong.
 */
#ifndef PQLEASE_TESTS_FUZZ_H
#define PQLEASE_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* The entry of libFuzzer, and its way to change bytes in place (at most `max_bytes` come out). */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length_bytes);
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t length_bytes, size_t max_bytes);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t length_bytes, size_t max_bytes, unsigned int seed);

#define FUZZ_EXPECT(claim) ((claim) ? (void)0 : abort())

/* A file in memory with these bytes, at offset 0; one per process, used again by the next call. */
int fuzz_file(const uint8_t *bytes, size_t length_bytes);
/* Its path, which leads there through a symbolic link. */
const char *fuzz_file_path(void);

/* A copy of the bytes as a text that ends where they end, so that reading beyond is seen. Freed by the caller. */
char *fuzz_text(const uint8_t *bytes, size_t length_bytes);

/* ---- Randomness of a mutator: everything follows from its seed ------------------------------------------------- */

uint64_t fuzz_random(uint64_t *state);
/* A number below `bound`, 0 for 0. */
uint64_t fuzz_below(uint64_t *state, uint64_t bound);
/* Numbers that break things: small ones, powers of two and their neighbours, the highest, and any. */
uint64_t fuzz_number(uint64_t *state);

/* ---- Ledgers ------------------------------------------------------------------------------------------------------ */

/* Changes one thing of a ledger by what its header says: a field of the section table or of the header, a word of a
 * record that is in use, a few bytes of a section. Checks of ended leases are made right again most of the time.
 * Never grows. */
void fuzz_change_ledger(uint8_t *bytes, size_t length_bytes, uint64_t *random);

#endif
