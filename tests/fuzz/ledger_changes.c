/* Changing ledgers by what their own header says. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "shim/ledger_format.h"

struct image {
	uint8_t *bytes;
	size_t length_bytes;
	uint64_t *random;
};

static struct ledger_header *header_of(const struct image *image) {
	return (struct ledger_header *)image->bytes;
}

/* Where the units in use lie, as far as they lie in the file; 0 bytes if they do not. */
static uint64_t section_bytes(const struct image *image, uint32_t kind, uint64_t *offset) {
	const struct ledger_section *section = &header_of(image)->section[kind];
	uint64_t count = section->used < section->capacity ? section->used + 1 : section->capacity;
	*offset = section->offset;
	if (*offset >= image->length_bytes || section->entry_size_bytes == 0)
		return 0;
	uint64_t room = image->length_bytes - *offset;
	uint64_t fitting = room / section->entry_size_bytes;
	return (count < fitting ? count : fitting) * section->entry_size_bytes;
}

static void change_section_table(struct image *image) {
	struct ledger_section *section =
		&header_of(image)->section[fuzz_below(image->random, LEDGER_SECTION_COUNT)];
	const struct ledger_section *other =
		&header_of(image)->section[fuzz_below(image->random, LEDGER_SECTION_COUNT)];
	uint64_t number = fuzz_number(image->random);
	switch (fuzz_below(image->random, 8)) {
	case 0:
		section->offset = other->offset + 64 * fuzz_below(image->random, 3);
		break;
	case 1:
		section->offset += 64 * fuzz_below(image->random, 5) - 128;
		break;
	case 2:
		section->capacity = number;
		break;
	case 3:
		section->capacity += fuzz_below(image->random, 5) - 2;
		break;
	case 4:
		section->entry_size_bytes =
			(uint32_t)(fuzz_below(image->random, 2) ? other->entry_size_bytes : number);
		break;
	case 5:
		section->kind = (uint32_t)number;
		break;
	default:
		section->used = fuzz_below(image->random, 2)
			? number
			: section->used + fuzz_below(image->random, 5) - 2;
		break;
	}
}

static void change_header_word(struct image *image) {
	uint32_t words = (uint32_t)(offsetof(struct ledger_header, section) / 4);
	uint32_t number = (uint32_t)fuzz_number(image->random);
	memcpy(image->bytes + 4 * fuzz_below(image->random, words), &number, sizeof number);
}

static void change_record_word(struct image *image) {
	uint64_t offset;
	uint64_t length =
		section_bytes(image, (uint32_t)fuzz_below(image->random, LEDGER_SECTION_COUNT), &offset);
	uint64_t number = fuzz_number(image->random);
	size_t size = fuzz_below(image->random, 2) ? 4 : 8;
	uint64_t words = length / size;
	if (words > 0)
		memcpy(image->bytes + offset + size * fuzz_below(image->random, words), &number, size);
}

static void change_some_bytes(struct image *image) {
	uint64_t offset;
	uint64_t length =
		section_bytes(image, (uint32_t)fuzz_below(image->random, LEDGER_SECTION_COUNT), &offset);
	uint64_t first = fuzz_below(image->random, length);
	uint64_t count = length - first < 64 ? length - first : 64;
	if (count > 0)
		LLVMFuzzerMutate(image->bytes + offset + first, count, count);
}

/* So that what lies behind a check is reached as well. */
static void make_checks_right(struct image *image, uint32_t kind, uint64_t lap) {
	uint64_t offset;
	uint64_t length = section_bytes(image, kind, &offset);
	if (offset % 8 != 0 ||
	    header_of(image)->section[kind].entry_size_bytes != sizeof(struct ledger_ended))
		return;
	for (uint64_t at = 0; at + sizeof(struct ledger_ended) <= length; at += sizeof(struct ledger_ended)) {
		struct ledger_ended *ended = (struct ledger_ended *)(image->bytes + offset + at);
		ended->check = ledger_ended_check(ended, (ended->word >> 1) - lap);
	}
}

void fuzz_change_ledger(uint8_t *bytes, size_t length_bytes, uint64_t *random) {
	static void (*const changes[])(struct image *) = {change_section_table, change_header_word,
							  change_record_word,   change_record_word,
							  change_record_word,   change_some_bytes};
	struct image image = {bytes, length_bytes, random};
	if (length_bytes < LEDGER_HEADER_BYTES)
		return;
	for (uint64_t rest = 1 + fuzz_below(random, 4); rest > 0; rest--)
		changes[fuzz_below(random, sizeof changes / sizeof *changes)](&image);
	if (fuzz_below(random, 16) == 0)
		return;
	memcpy(bytes, LEDGER_MAGIC, sizeof header_of(&image)->magic);
	make_checks_right(&image, LEDGER_HISTORY, header_of(&image)->section[LEDGER_HISTORY].capacity);
	make_checks_right(&image, LEDGER_UNRELEASED, 0);
}
