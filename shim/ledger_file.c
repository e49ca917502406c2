#include "shim/ledger_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shim/proc.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* ---- Layout --------------------------------------------------------------------------------- */

/* Capacities of a 32 MiB ledger; other sizes scale them. Sums to 31.9 MiB, see the layout test. */
static const struct section_plan {
	uint32_t entry_size_bytes;
	uint32_t capacity;
	uint32_t capacity_min;
	bool is_power_of_two;
} section_plans[LEDGER_SECTION_COUNT] = {
	[LEDGER_PROCESSES] = {sizeof(struct ledger_process), 4096, 64, false},
	[LEDGER_MODULES] = {sizeof(struct ledger_module), 2048, 128, false},
	[LEDGER_MODULE_INDEX] = {sizeof(uint32_t), 4096, 256, true},
	[LEDGER_ENDPOINTS] = {sizeof(struct ledger_endpoint), 1024, 16, false},
	[LEDGER_ENDPOINT_INDEX] = {sizeof(uint32_t), 2048, 32, true},
	[LEDGER_POOLS] = {sizeof(struct ledger_pool), 512, 16, false},
	[LEDGER_POOL_INDEX] = {sizeof(uint32_t), 1024, 32, true},
	[LEDGER_STRINGS] = {8, 196608, 4096, false},
	[LEDGER_STRING_INDEX] = {sizeof(uint32_t), 32768, 512, true},
	[LEDGER_FRAMES] = {sizeof(struct ledger_frame), 262144, 4096, false},
	[LEDGER_SITES] = {sizeof(struct ledger_site), 5632, 128, false},
	[LEDGER_SITE_INDEX] = {sizeof(uint32_t), 16384, 256, true},
	[LEDGER_OCTAVES] = {sizeof(struct ledger_octave), 20480, 256, false},
	[LEDGER_LEASES] = {sizeof(struct ledger_lease), 12288, 256, false},
	[LEDGER_HISTORY] = {sizeof(struct ledger_ended), 16384, 256, false},
	[LEDGER_UNRELEASED] = {sizeof(struct ledger_ended), 4096, 64, false},
	[LEDGER_USES] = {sizeof(struct ledger_use), 12288, 256, false},
	[LEDGER_TIMELINES] = {sizeof(struct ledger_timeline), 26, 2, false},
	[LEDGER_SNAPSHOTS] = {sizeof(struct ledger_snapshot), 8, 1, false},
	[LEDGER_FAILURES] = {sizeof(struct ledger_failure), LEDGER_FAILURE_CAPACITY, LEDGER_FAILURE_CAPACITY,
			     false},
	[LEDGER_RELEASERS] = {sizeof(struct ledger_releaser), 4096, 64, false},
	[LEDGER_RELEASER_INDEX] = {sizeof(uint32_t), 8192, 128, true},
	[LEDGER_TRENDS] = {sizeof(struct ledger_trend), 512, 16, false},
};

static uint64_t floor_power_of_two(uint64_t value) {
	return UINT64_C(1) << (63 - __builtin_clzll(value));
}

static uint64_t scaled_capacity(const struct section_plan *plan, uint64_t size_bytes) {
	if (plan->capacity == plan->capacity_min)
		return plan->capacity;
	/* Small ledgers give 104 KiB to the minima. */
	uint64_t scale_kib = (size_bytes >> 10) - (size_bytes < LEDGER_DEFAULT_SIZE_BYTES ? 104 : 0);
	uint64_t capacity = plan->capacity * scale_kib / (LEDGER_DEFAULT_SIZE_BYTES >> 10);
	if (capacity < plan->capacity_min)
		capacity = plan->capacity_min;
	if (capacity > UINT32_MAX / 2)
		capacity = UINT32_MAX / 2;
	return plan->is_power_of_two ? floor_power_of_two(capacity) : capacity;
}

static uint64_t round_up(uint64_t value, uint64_t unit) {
	return (value + unit - 1) / unit * unit;
}

bool ledger_file_layout(struct ledger_header *header, uint64_t size_bytes) {
	if (size_bytes < LEDGER_MIN_SIZE_BYTES || size_bytes > LEDGER_MAX_SIZE_BYTES)
		return false;
	header->extent_bytes = LEDGER_EXTENT_MIN_BYTES;
	while (size_bytes / header->extent_bytes >= LEDGER_EXTENT_COUNT_MAX)
		header->extent_bytes *= 2;
	uint64_t offset = LEDGER_HEADER_BYTES;
	for (uint32_t kind = 0; kind < LEDGER_SECTION_COUNT; kind++) {
		struct ledger_section *section = &header->section[kind];
		section->kind = kind;
		section->entry_size_bytes = section_plans[kind].entry_size_bytes;
		section->offset = offset;
		section->capacity = scaled_capacity(&section_plans[kind], size_bytes);
		offset = round_up(offset + section->capacity * section->entry_size_bytes, 64);
	}
	header->mapped_bytes = round_up(size_bytes, 4096);
	return offset <= header->mapped_bytes;
}

/* ---- Space ---------------------------------------------------------------------------------- */

static bool extent_populate(struct ledger_header *header, uint64_t extent) {
	uint64_t start = extent * header->extent_bytes;
	uint64_t length_bytes = header->extent_bytes;
	if (start + length_bytes > header->mapped_bytes)
		length_bytes = header->mapped_bytes - start;
	int saved_errno = errno;
	bool is_ready = madvise((char *)header + start, length_bytes, MADV_POPULATE_WRITE) == 0;
	errno = saved_errno;
	if (is_ready)
		atomic_fetch_or_explicit(&header->extent_ready[extent / 64], UINT64_C(1) << (extent % 64),
					 memory_order_release);
	else
		atomic_fetch_add_explicit(&header->lost[LEDGER_LOST_SPACE], 1, memory_order_relaxed);
	return is_ready;
}

bool ledger_file_populate(struct ledger_header *header, uint64_t offset, uint64_t length_bytes) {
	uint64_t last = (offset + length_bytes - 1) / header->extent_bytes;
	for (uint64_t extent = offset / header->extent_bytes; extent <= last; extent++)
		if (!ledger_file_extent_is_ready(header, extent) && !extent_populate(header, extent))
			return false;
	return true;
}

/* Kernels before 5.14 have no MADV_POPULATE_WRITE, and a sandbox may forbid madvise. */
static bool can_populate(struct ledger_header *header) {
	return madvise(header, 4096, MADV_POPULATE_WRITE) == 0 ||
		(errno != EINVAL && errno != ENOSYS && errno != EPERM && errno != EACCES);
}

/* Where space cannot be populated it is taken all at once. */
static bool reserve_all(struct ledger_header *header, int fd) {
	if (fallocate(fd, 0, 0, (off_t)header->mapped_bytes) != 0)
		return false;
	for (uint32_t i = 0; i < LEDGER_EXTENT_COUNT_MAX / 64; i++)
		atomic_store(&header->extent_ready[i], UINT64_MAX);
	return true;
}

static bool reserve_first_extent(struct ledger_header *header, int fd) {
	if (ledger_file_populate(header, 0, LEDGER_HEADER_BYTES))
		return true;
	atomic_store(&header->lost[LEDGER_LOST_SPACE], 0);
	return !can_populate(header) && reserve_all(header, fd);
}

/* A quarter of what is free: PostgreSQL's own parallel queries live in the same /dev/shm. */
static enum ledger_file_status affordable_size(int fd, uint64_t *size_bytes) {
	struct statfs space;
	struct rlimit limit;
	if (fstatfs(fd, &space) == 0 && space.f_blocks > 0) {
		uint64_t quarter = (uint64_t)space.f_bavail * (uint64_t)space.f_bsize / 4;
		if (quarter < LEDGER_MIN_SIZE_BYTES)
			return LEDGER_FILE_NO_SPACE;
		if (*size_bytes > quarter)
			*size_bytes = quarter;
	}
	/* Growing a file beyond the limit would raise SIGXFSZ in the host. */
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
		if (limit.rlim_cur < LEDGER_MIN_SIZE_BYTES)
			return LEDGER_FILE_SIZE_LIMIT;
		if (*size_bytes > limit.rlim_cur)
			*size_bytes = limit.rlim_cur;
	}
	/* Down: mapped_bytes is rounded up and must not pass the limit again. */
	*size_bytes = *size_bytes / 4096 * 4096;
	return LEDGER_FILE_OK;
}

/* ---- Facts of the run ------------------------------------------------------------------------- */

static uint64_t clock_ns(clockid_t clock) {
	struct timespec now;
	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void read_boot_id(uint8_t boot_id[16]) {
	char text[64];
	int nibbles = 0;
	proc_read_text("/proc/sys/kernel/random/boot_id", text, sizeof text);
	for (const char *at = text; *at && nibbles < 32; at++) {
		int value = *at >= '0' && *at <= '9' ? *at - '0'
			: *at >= 'a' && *at <= 'f'   ? *at - 'a' + 10
						     : -1;
		if (value < 0)
			continue;
		boot_id[nibbles / 2] = (uint8_t)(boot_id[nibbles / 2] << 4 | value);
		nibbles++;
	}
}

/* The creator is alone with the file: plain appends, in the arena's own shape. */
static uint32_t append_string(struct ledger_header *header, const char *text) {
	struct ledger_section *section = &header->section[LEDGER_STRINGS];
	size_t length = text ? strnlen(text, LEDGER_STRING_MAX_BYTES) : 0;
	uint64_t units = (sizeof(struct ledger_string) + length + 1 + 7) / 8;
	uint64_t unit = section->used;
	if (length == 0 || unit + units > section->capacity ||
	    !ledger_file_populate(header, section->offset + unit * 8, units * 8))
		return 0;
	struct ledger_string *string = (struct ledger_string *)((char *)header + section->offset + unit * 8);
	string->length_bytes = (uint32_t)length;
	memcpy(string + 1, text, length);
	section->used = unit + units;
	return (uint32_t)unit;
}

static void describe_run(struct ledger_header *header, const struct ledger_run_facts *facts) {
	struct stat namespace_stat;
	char host[256] = "";
	header->created_realtime_ns = clock_ns(CLOCK_REALTIME);
	header->created_monotonic_ns = clock_ns(CLOCK_MONOTONIC);
	if (syscall(SYS_getrandom, header->run_id, sizeof header->run_id, 1 /* GRND_NONBLOCK */) < 0)
		memcpy(header->run_id, &header->created_realtime_ns, sizeof header->created_realtime_ns);
	read_boot_id(header->boot_id);
	if (stat("/proc/self/ns/pid", &namespace_stat) == 0)
		header->pid_namespace = namespace_stat.st_ino;
	header->creator_pid = (int32_t)getpid();
	header->creator_uid = (uint32_t)getuid();
	header->creator_start_ticks = proc_start_ticks((int32_t)getpid());
	header->made_by_run = facts->made_by_run;
	gethostname(host, sizeof host - 1);
	header->host = append_string(header, host);
	header->tool_version = append_string(header, facts->tool_version);
	for (; facts->command && facts->command[header->command_count]; header->command_count++) {
		if (header->command_count == LEDGER_COMMAND_WORDS)
			break;
		header->command[header->command_count] =
			append_string(header, facts->command[header->command_count]);
	}
}

/* ---- Create ------------------------------------------------------------------------------------ */

/* Reserved entries exist from the start, so that id 0 of a string and the shared totals are never
 * handed out to anyone. */
static bool reserve_entries(struct ledger_header *header) {
	static const struct {
		uint32_t kind;
		uint32_t count;
	} reserved[] = {
		{LEDGER_STRINGS, 1},
		{LEDGER_POOLS, LEDGER_POOL_OTHER + 1},
		{LEDGER_SITES, LEDGER_SITE_FIRST},
		{LEDGER_TIMELINES, 1},
		{LEDGER_FAILURES, LEDGER_FAILURE_CAPACITY},
	};
	for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
		struct ledger_section *section = &header->section[reserved[i].kind];
		section->used = reserved[i].count;
		if (!ledger_file_populate(header, section->offset,
					  (uint64_t)reserved[i].count * section->entry_size_bytes))
			return false;
	}
	return true;
}

static enum ledger_file_status system_error(struct ledger_map *map) {
	map->error_number = errno;
	return LEDGER_FILE_SYSTEM_ERROR;
}

static enum ledger_file_status map_whole(struct ledger_map *map, int fd, uint64_t mapped_bytes) {
	void *address = mmap(NULL, mapped_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (address == MAP_FAILED)
		return system_error(map);
	/* A core dump of the host should not carry the ledger of all its neighbours. */
	madvise(address, mapped_bytes, MADV_DONTDUMP);
	map->header = address;
	map->mapped_bytes = mapped_bytes;
	return LEDGER_FILE_OK;
}

static enum ledger_file_status fill_new_file(struct ledger_map *map, int fd, uint64_t size_bytes,
					     const struct ledger_run_facts *facts) {
	struct ledger_header plan = {.format_version = LEDGER_FORMAT_VERSION,
				     .byte_order = LEDGER_BYTE_ORDER,
				     .header_bytes = LEDGER_HEADER_BYTES,
				     .section_count = LEDGER_SECTION_COUNT};
	enum ledger_file_status status = affordable_size(fd, &size_bytes);
	if (status != LEDGER_FILE_OK)
		return status;
	if (!ledger_file_layout(&plan, size_bytes))
		return LEDGER_FILE_NO_SPACE;
	if (ftruncate(fd, (off_t)plan.mapped_bytes) != 0)
		return system_error(map);
	status = map_whole(map, fd, plan.mapped_bytes);
	if (status != LEDGER_FILE_OK)
		return status;
	/* The first bytes must not be touched before their pages exist. extent_bytes and mapped_bytes
	 * of the still unwritten header are needed to make them exist, hence the direct call. */
	if (madvise(map->header, LEDGER_HEADER_BYTES, MADV_POPULATE_WRITE) != 0 &&
	    fallocate(fd, 0, 0, (off_t)plan.mapped_bytes) != 0)
		return LEDGER_FILE_NO_SPACE;
	memcpy(map->header, &plan, sizeof plan);
	if (!reserve_first_extent(map->header, fd) || !reserve_entries(map->header))
		return LEDGER_FILE_NO_SPACE;
	describe_run(map->header, facts);
	memcpy(map->header->magic, LEDGER_MAGIC, sizeof map->header->magic);
	return LEDGER_FILE_OK;
}

/* The directory part of `path`, "." if it has none; false if it does not fit. */
static bool directory_of(const char *path, char *directory, size_t size_bytes) {
	const char *slash = strrchr(path, '/');
	size_t length = slash ? (size_t)(slash - path) : 1;
	if (length >= size_bytes)
		return false;
	memcpy(directory, slash ? path : ".", length);
	if (slash == path)
		directory[length++] = '/';
	directory[length] = '\0';
	return true;
}

/* linkat by descriptor number: AT_EMPTY_PATH would need a capability. */
static int link_descriptor(int fd, const char *path) {
	char link[32] = "/proc/self/fd/";
	char *at = link + strlen(link);
	char digits[12];
	int count = 0;
	do
		digits[count++] = (char)('0' + fd % 10);
	while ((fd /= 10) > 0);
	while (count > 0)
		*at++ = digits[--count];
	*at = '\0';
	return linkat(AT_FDCWD, link, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
}

enum ledger_file_status ledger_file_create(struct ledger_map *map, const char *path, uint64_t size_bytes,
					   const struct ledger_run_facts *facts) {
	char directory[4096];
	*map = (struct ledger_map){0};
	if (!directory_of(path, directory, sizeof directory)) {
		errno = ENAMETOOLONG;
		return system_error(map);
	}
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return system_error(map);
	/* The host's umask may take even the owner's bits away. */
	enum ledger_file_status status = fchmod(fd, 0600) == 0 ? LEDGER_FILE_OK : system_error(map);
	if (status == LEDGER_FILE_OK)
		status = fill_new_file(map, fd, size_bytes, facts);
	if (status == LEDGER_FILE_OK && link_descriptor(fd, path) != 0)
		status = errno == EEXIST ? LEDGER_FILE_EXISTS : system_error(map);
	close(fd);
	if (status != LEDGER_FILE_OK)
		ledger_file_unmap(map);
	return status;
}

/* ---- Join ---------------------------------------------------------------------------------------- */

/* Sections follow each other: what is read a little beyond the end of one (a string, a stack) is inside the file. */
static bool section_is_sound(const struct ledger_header *header, uint32_t kind, uint64_t free_from) {
	const struct ledger_section *section = &header->section[kind];
	const struct section_plan *plan = &section_plans[kind];
	return section->kind == kind && section->entry_size_bytes == plan->entry_size_bytes &&
		section->offset >= free_from && section->offset % 64 == 0 &&
		section->offset <= header->mapped_bytes && section->capacity >= plan->capacity_min &&
		section->capacity <= (header->mapped_bytes - section->offset) / section->entry_size_bytes &&
		(!plan->is_power_of_two || (section->capacity & (section->capacity - 1)) == 0);
}

static bool header_is_sound(const struct ledger_header *header, uint64_t file_bytes) {
	if (header->byte_order != LEDGER_BYTE_ORDER || header->header_bytes != LEDGER_HEADER_BYTES ||
	    header->section_count != LEDGER_SECTION_COUNT || header->mapped_bytes > file_bytes ||
	    header->mapped_bytes < LEDGER_MIN_SIZE_BYTES || header->mapped_bytes > LEDGER_MAX_SIZE_BYTES ||
	    header->mapped_bytes % 4096 != 0)
		return false;
	if (header->extent_bytes < LEDGER_EXTENT_MIN_BYTES ||
	    (header->extent_bytes & (header->extent_bytes - 1)) != 0 ||
	    (header->mapped_bytes - 1) / header->extent_bytes >= LEDGER_EXTENT_COUNT_MAX)
		return false;
	uint64_t free_from = LEDGER_HEADER_BYTES;
	for (uint32_t kind = 0; kind < LEDGER_SECTION_COUNT; kind++) {
		const struct ledger_section *section = &header->section[kind];
		if (!section_is_sound(header, kind, free_from))
			return false;
		free_from = section->offset + section->capacity * section->entry_size_bytes;
	}
	return true;
}

static enum ledger_file_status check_file(int fd, uint64_t *mapped_bytes) {
	struct stat file;
	struct ledger_header header;
	if (fstat(fd, &file) != 0)
		return LEDGER_FILE_SYSTEM_ERROR;
	if (!S_ISREG(file.st_mode))
		return LEDGER_FILE_NOT_REGULAR;
	if (file.st_uid != geteuid() && file.st_uid != 0)
		return LEDGER_FILE_FOREIGN;
	if (file.st_nlink > 1)
		return LEDGER_FILE_LINKED;
	if (pread(fd, &header, sizeof header, 0) != (ssize_t)sizeof header ||
	    memcmp(header.magic, LEDGER_MAGIC, sizeof header.magic) != 0)
		return LEDGER_FILE_NOT_A_LEDGER;
	if (header.format_version != LEDGER_FORMAT_VERSION)
		return LEDGER_FILE_OTHER_VERSION;
	if (!header_is_sound(&header, (uint64_t)file.st_size))
		return LEDGER_FILE_NOT_A_LEDGER;
	*mapped_bytes = header.mapped_bytes;
	return LEDGER_FILE_OK;
}

enum ledger_file_status ledger_file_join(struct ledger_map *map, const char *path) {
	uint64_t mapped_bytes = 0;
	*map = (struct ledger_map){0};
	/* O_NONBLOCK: a FIFO at the path must not block the host. */
	int fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		enum ledger_file_status status = system_error(map);
		return map->error_number == ENOENT                                  ? LEDGER_FILE_ABSENT
			: map->error_number == ELOOP || map->error_number == EISDIR ? LEDGER_FILE_NOT_REGULAR
										    : status;
	}
	enum ledger_file_status status = check_file(fd, &mapped_bytes);
	if (status == LEDGER_FILE_SYSTEM_ERROR)
		map->error_number = errno;
	if (status == LEDGER_FILE_OK)
		status = map_whole(map, fd, mapped_bytes);
	/* Checked again where it counts: what was read may have changed before it was mapped. */
	if (status == LEDGER_FILE_OK && !header_is_sound(map->header, mapped_bytes)) {
		ledger_file_unmap(map);
		status = LEDGER_FILE_NOT_A_LEDGER;
	}
	/* If that fails as well, what finds no room is counted as lost. */
	if (status == LEDGER_FILE_OK && !can_populate(map->header))
		reserve_all(map->header, fd);
	close(fd);
	return status;
}

void ledger_file_unmap(struct ledger_map *map) {
	if (map->header)
		munmap(map->header, map->mapped_bytes);
	map->header = NULL;
}

/* ---- Texts ----------------------------------------------------------------------------------------- */

const char *ledger_file_status_text(enum ledger_file_status status) {
	static const char *const texts[] = {
		[LEDGER_FILE_OK] = "no error",
		[LEDGER_FILE_EXISTS] = "the file exists",
		[LEDGER_FILE_ABSENT] = "no such ledger",
		[LEDGER_FILE_NOT_REGULAR] = "not a regular file",
		[LEDGER_FILE_FOREIGN] = "belongs to another user",
		[LEDGER_FILE_LINKED] = "has more than one name",
		[LEDGER_FILE_NOT_A_LEDGER] = "not a pqlease ledger, or a damaged one",
		[LEDGER_FILE_OTHER_VERSION] = "a ledger of another format version",
		[LEDGER_FILE_NO_SPACE] = "the file system has too little free space",
		[LEDGER_FILE_SIZE_LIMIT] = "the file size limit (RLIMIT_FSIZE) is too low",
		[LEDGER_FILE_SYSTEM_ERROR] = "the system refused",
	};
	return texts[status];
}

bool ledger_text_is_harmless(const char *text) {
	/* '=' makes a conninfo or an assignment, '@' and "://" a URI; white space and quotes make code or
	 * a phrase. A component with any of them may carry a part of a password (libpq splits malformed
	 * URIs in surprising places), so it is not stored at all. */
	if (strstr(text, "://"))
		return false;
	for (const char *at = text; *at; at++)
		if (strchr("=@'\"`\\ ?#&;", *at) || (unsigned char)*at < 0x20 || *at == 0x7f)
			return false;
	return true;
}
