#include "analyzer/ledger/ledger_reader_image.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- The header ----------------------------------------------------------------------------- */

static const uint32_t entry_sizes[LEDGER_SECTION_COUNT] = {
	[LEDGER_PROCESSES] = sizeof(struct ledger_process),
	[LEDGER_MODULES] = sizeof(struct ledger_module),
	[LEDGER_MODULE_INDEX] = sizeof(uint32_t),
	[LEDGER_ENDPOINTS] = sizeof(struct ledger_endpoint),
	[LEDGER_ENDPOINT_INDEX] = sizeof(uint32_t),
	[LEDGER_POOLS] = sizeof(struct ledger_pool),
	[LEDGER_POOL_INDEX] = sizeof(uint32_t),
	[LEDGER_STRINGS] = 8,
	[LEDGER_STRING_INDEX] = sizeof(uint32_t),
	[LEDGER_FRAMES] = sizeof(struct ledger_frame),
	[LEDGER_SITES] = sizeof(struct ledger_site),
	[LEDGER_SITE_INDEX] = sizeof(uint32_t),
	[LEDGER_OCTAVES] = sizeof(struct ledger_octave),
	[LEDGER_LEASES] = sizeof(struct ledger_lease),
	[LEDGER_HISTORY] = sizeof(struct ledger_ended),
	[LEDGER_UNRELEASED] = sizeof(struct ledger_ended),
	[LEDGER_USES] = sizeof(struct ledger_use),
	[LEDGER_TIMELINES] = sizeof(struct ledger_timeline),
	[LEDGER_SNAPSHOTS] = sizeof(struct ledger_snapshot),
	[LEDGER_FAILURES] = sizeof(struct ledger_failure),
	[LEDGER_RELEASERS] = sizeof(struct ledger_releaser),
	[LEDGER_RELEASER_INDEX] = sizeof(uint32_t),
	[LEDGER_TRENDS] = sizeof(struct ledger_trend),
};

static enum ledger_reader_status check_section(const struct ledger_header *header, uint32_t kind) {
	const struct ledger_section *section = &header->section[kind];
	if (section->kind != kind)
		return LEDGER_READER_BAD_SECTION_KIND;
	if (section->entry_size_bytes != entry_sizes[kind])
		return LEDGER_READER_BAD_ENTRY_SIZE;
	if (section->offset % 64 != 0)
		return LEDGER_READER_MISALIGNED_SECTION;
	if (section->offset < LEDGER_HEADER_BYTES)
		return LEDGER_READER_SECTION_IN_HEADER;
	if (section->offset > header->mapped_bytes ||
	    section->capacity > (header->mapped_bytes - section->offset) / section->entry_size_bytes)
		return LEDGER_READER_SECTION_OUT_OF_RANGE;
	return LEDGER_READER_OK;
}

static uint64_t section_end(const struct ledger_section *section) {
	return section->offset + section->capacity * section->entry_size_bytes;
}

static bool sections_overlap(const struct ledger_header *header) {
	for (uint32_t a = 0; a < LEDGER_SECTION_COUNT; a++)
		for (uint32_t b = a + 1; b < LEDGER_SECTION_COUNT; b++)
			if (header->section[a].offset < section_end(&header->section[b]) &&
			    header->section[b].offset < section_end(&header->section[a]))
				return true;
	return false;
}

static enum ledger_reader_status check_header(const struct ledger_header *header, uint64_t file_bytes) {
	if (memcmp(header->magic, LEDGER_MAGIC, sizeof header->magic) != 0)
		return LEDGER_READER_NOT_A_LEDGER;
	if (header->byte_order != LEDGER_BYTE_ORDER)
		return LEDGER_READER_OTHER_BYTE_ORDER;
	if (header->format_version != LEDGER_FORMAT_VERSION)
		return LEDGER_READER_OTHER_VERSION;
	if (header->header_bytes != LEDGER_HEADER_BYTES || header->section_count != LEDGER_SECTION_COUNT ||
	    header->mapped_bytes < LEDGER_HEADER_BYTES || header->mapped_bytes > LEDGER_MAX_SIZE_BYTES)
		return LEDGER_READER_BAD_HEADER;
	if (header->mapped_bytes > file_bytes)
		return LEDGER_READER_TRUNCATED;
	for (uint32_t kind = 0; kind < LEDGER_SECTION_COUNT; kind++) {
		enum ledger_reader_status status = check_section(header, kind);
		if (status != LEDGER_READER_OK)
			return status;
	}
	return sections_overlap(header) ? LEDGER_READER_SECTIONS_OVERLAP : LEDGER_READER_OK;
}

/* ---- The copy ------------------------------------------------------------------------------- */

static enum ledger_reader_status read_range(int descriptor, unsigned char *to, uint64_t offset,
					    uint64_t length_bytes) {
	while (length_bytes > 0) {
		ssize_t got = pread(descriptor, to, length_bytes, (off_t)offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return LEDGER_READER_SYSTEM_ERROR;
		if (got == 0)
			return LEDGER_READER_TRUNCATED;
		to += got;
		offset += (uint64_t)got;
		length_bytes -= (uint64_t)got;
	}
	return LEDGER_READER_OK;
}

/* The next stretch of data at or behind *start; false if there is none before `end`. A file system that
 * knows no holes shows one stretch. */
static bool next_data(int descriptor, uint64_t *start, uint64_t *stop, uint64_t end) {
	off_t data = lseek(descriptor, (off_t)*start, SEEK_DATA);
	if (data < 0 && errno == ENXIO)
		return false;
	if (data < 0) {
		*stop = end;
		return true;
	}
	off_t hole = lseek(descriptor, data, SEEK_HOLE);
	*start = (uint64_t)data;
	*stop = hole > data && (uint64_t)hole < end ? (uint64_t)hole : end;
	return *start < end;
}

static enum ledger_reader_status copy_data(const struct ledger_image *image, int descriptor) {
	uint64_t start = 0;
	uint64_t stop = 0;
	for (; start < image->mapped_bytes && next_data(descriptor, &start, &stop, image->mapped_bytes);
	     start = stop) {
		enum ledger_reader_status status =
			read_range(descriptor, image->bytes + start, start, stop - start);
		if (status != LEDGER_READER_OK)
			return status;
	}
	struct stat file;
	if (fstat(descriptor, &file) != 0)
		return LEDGER_READER_SYSTEM_ERROR;
	return (uint64_t)file.st_size < image->mapped_bytes ? LEDGER_READER_TRUNCATED : LEDGER_READER_OK;
}

/* ---- Consistent records --------------------------------------------------------------------- */

enum { RETRY_COUNT = 8 };

/* Whether the record, as copied now, was copied while its word stood still. */
static bool reread_record(int descriptor, unsigned char *record, uint64_t offset, uint32_t size_bytes) {
	uint64_t before = 0;
	uint64_t after = 0;
	if (read_range(descriptor, (unsigned char *)&before, offset, sizeof before) != LEDGER_READER_OK ||
	    read_range(descriptor, record, offset, size_bytes) != LEDGER_READER_OK ||
	    read_range(descriptor, (unsigned char *)&after, offset, sizeof after) != LEDGER_READER_OK)
		return false;
	memcpy(record, &after, sizeof after);
	return before == after;
}

/* A record that never stands still is between two tenants: it reads as unwritten. */
static void settle_record(int descriptor, unsigned char *record, uint64_t offset, uint32_t size_bytes) {
	for (int i = 0; i < RETRY_COUNT; i++)
		if (reread_record(descriptor, record, offset, size_bytes))
			return;
	memset(record, 0, size_bytes);
}

/* The first copy has the words from before, a third one has them from after the second copy: what has
 * the same word in both was not given to another tenant while the second copy was made. */
static enum ledger_reader_status settle_section(const struct ledger_image *image, int descriptor,
						enum ledger_section_kind kind) {
	const struct ledger_section *section = &ledger_image_header(image)->section[kind];
	uint32_t size_bytes = section->entry_size_bytes;
	uint64_t count = ledger_image_count(image, kind);
	if (count == 0)
		return LEDGER_READER_OK;
	unsigned char *records = image->bytes + section->offset;
	unsigned char *words_after = malloc(count * size_bytes);
	uint64_t *words_before = calloc(count, sizeof *words_before);
	enum ledger_reader_status status = LEDGER_READER_SYSTEM_ERROR;
	if (words_after != NULL && words_before != NULL) {
		for (uint64_t i = 0; i < count; i++)
			memcpy(&words_before[i], records + i * size_bytes, sizeof *words_before);
		status = read_range(descriptor, records, section->offset, count * size_bytes);
	}
	if (status == LEDGER_READER_OK)
		status = read_range(descriptor, words_after, section->offset, count * size_bytes);
	for (uint64_t i = 0; status == LEDGER_READER_OK && i < count; i++)
		if (memcmp(&words_before[i], words_after + i * size_bytes, sizeof *words_before) != 0 ||
		    memcmp(&words_before[i], records + i * size_bytes, sizeof *words_before) != 0)
			settle_record(descriptor, records + i * size_bytes, section->offset + i * size_bytes,
				      size_bytes);
	free(words_before);
	free(words_after);
	return status;
}

/* ---- Opening -------------------------------------------------------------------------------- */

static enum ledger_reader_status copy_all(struct ledger_image *image, int descriptor, uint64_t file_bytes) {
	struct ledger_header header;
	enum ledger_reader_status status = read_range(descriptor, (unsigned char *)&header, 0, sizeof header);
	if (status == LEDGER_READER_OK)
		status = check_header(&header, file_bytes);
	if (status != LEDGER_READER_OK)
		return status;
	void *bytes = mmap(NULL, header.mapped_bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (bytes == MAP_FAILED)
		return LEDGER_READER_SYSTEM_ERROR;
	image->bytes = bytes;
	image->mapped_bytes = header.mapped_bytes;
	status = copy_data(image, descriptor);
	/* What was checked must be what is used, also if somebody rewrites the file meanwhile. */
	uint64_t used[LEDGER_SECTION_COUNT];
	const struct ledger_header *copied = ledger_image_header(image);
	for (uint32_t kind = 0; kind < LEDGER_SECTION_COUNT; kind++)
		used[kind] = copied->section[kind].used;
	memcpy(image->bytes + offsetof(struct ledger_header, section), header.section, sizeof header.section);
	for (uint32_t kind = 0; kind < LEDGER_SECTION_COUNT; kind++)
		((struct ledger_header *)image->bytes)->section[kind].used = used[kind];
	if (status == LEDGER_READER_OK)
		status = settle_section(image, descriptor, LEDGER_PROCESSES);
	if (status == LEDGER_READER_OK)
		status = settle_section(image, descriptor, LEDGER_LEASES);
	return status;
}

enum ledger_reader_status ledger_image_open(struct ledger_image *image, int descriptor) {
	struct stat file;
	*image = (struct ledger_image){0};
	if (fstat(descriptor, &file) != 0)
		return LEDGER_READER_SYSTEM_ERROR;
	if (!S_ISREG(file.st_mode))
		return LEDGER_READER_NOT_REGULAR;
	if ((uint64_t)file.st_size < LEDGER_HEADER_BYTES)
		return LEDGER_READER_TOO_SHORT;
	enum ledger_reader_status status = copy_all(image, descriptor, (uint64_t)file.st_size);
	if (status != LEDGER_READER_OK)
		ledger_image_close(image);
	return status;
}

void ledger_image_close(struct ledger_image *image) {
	int saved_errno = errno;
	if (image->bytes != NULL)
		munmap(image->bytes, image->mapped_bytes);
	errno = saved_errno;
	*image = (struct ledger_image){0};
}

/* ---- Access --------------------------------------------------------------------------------- */

uint64_t ledger_image_capacity(const struct ledger_image *image, enum ledger_section_kind kind) {
	return ledger_image_header(image)->section[kind].capacity;
}

uint64_t ledger_image_count(const struct ledger_image *image, enum ledger_section_kind kind) {
	const struct ledger_section *section = &ledger_image_header(image)->section[kind];
	uint64_t used = section->used;
	return used < section->capacity ? used : section->capacity;
}

const void *ledger_image_unit(const struct ledger_image *image, enum ledger_section_kind kind,
			      uint64_t number) {
	const struct ledger_section *section = &ledger_image_header(image)->section[kind];
	return number < section->capacity
		? image->bytes + section->offset + number * section->entry_size_bytes
		: NULL;
}

bool ledger_image_string(const struct ledger_image *image, uint32_t id, uint64_t *offset) {
	const struct ledger_string *string = id > 0 && id < ledger_image_count(image, LEDGER_STRINGS)
		? ledger_image_unit(image, LEDGER_STRINGS, id)
		: NULL;
	if (string == NULL)
		return false;
	uint64_t room_bytes = (ledger_image_count(image, LEDGER_STRINGS) - id) * 8 - sizeof *string;
	const char *text = (const char *)(string + 1);
	*offset = (uint64_t)id * 8 + sizeof *string;
	return string->length_bytes <= LEDGER_STRING_MAX_BYTES && string->length_bytes < room_bytes &&
		text[string->length_bytes] == '\0';
}

const char *ledger_image_copy_strings(const struct ledger_image *image, struct arena *arena) {
	const char *strings = ledger_image_unit(image, LEDGER_STRINGS, 0);
	return strings != NULL ? arena_copy(arena, strings, ledger_image_count(image, LEDGER_STRINGS) * 8)
			       : "";
}
