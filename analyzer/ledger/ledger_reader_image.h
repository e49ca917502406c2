/*
 * A private, validated copy of a ledger's mapped part: the lower half of ledger_reader, which alone
 * includes this. Holes of the file cost nothing.
 */
#ifndef PQLEASE_ANALYZER_LEDGER_LEDGER_READER_IMAGE_H
#define PQLEASE_ANALYZER_LEDGER_LEDGER_READER_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/ledger/ledger_reader.h"
#include "shim/ledger_format.h"

struct ledger_image {
	unsigned char *bytes; /* mapped_bytes long, private memory */
	uint64_t mapped_bytes;
};

enum ledger_reader_status ledger_image_open(struct ledger_image *image, int descriptor);
void ledger_image_close(struct ledger_image *image);

static inline const struct ledger_header *ledger_image_header(const struct ledger_image *image) {
	return (const struct ledger_header *)image->bytes;
}

/* Units of a section that may hold something: `used`, at most `capacity`. */
uint64_t ledger_image_count(const struct ledger_image *image, enum ledger_section_kind kind);
uint64_t ledger_image_capacity(const struct ledger_image *image, enum ledger_section_kind kind);
/* Unit `number`, NULL beyond the section's capacity. */
const void *ledger_image_unit(const struct ledger_image *image, enum ledger_section_kind kind,
			      uint64_t number);
/* Whether `id` names a zero-terminated string; if so, where its text begins in the string arena. */
bool ledger_image_string(const struct ledger_image *image, uint32_t id, uint64_t *offset);
/* The string arena as it will be used after the image is closed. */
const char *ledger_image_copy_strings(const struct ledger_image *image, struct arena *arena);

#endif
