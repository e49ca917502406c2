/*
 * pqlease ls: the ledgers of this user, and with --prune the removal of those that have ended.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "analyzer/commands/commands.h"
#include "analyzer/ledger/ledger_search.h"
#include "analyzer/commands/options.h"

static const char help[] = "usage: pqlease ls [OPTIONS]\n\n"
			   "Lists this user's ledgers, newest first.\n\n"
			   "  --prune    remove those that have ended\n"
			   "  --dir DIR  look there instead of in /dev/shm\n"
			   "  --help     this text\n";

/* ---- Printing ------------------------------------------------------------------------------------------- */

struct unit {
	uint64_t size;
	char letter;
};

/* The largest of `units` (ending with size 1) that leaves at least one. */
static const char *in_units(char text[32], uint64_t amount, const struct unit *units) {
	while (units->size > 1 && amount < units->size)
		units++;
	snprintf(text, 32, "%" PRIu64 "%c", amount / units->size, units->letter);
	return text;
}

static const char *age_text(char text[32], uint64_t born_ns) {
	static const struct unit units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	return in_units(text, now_ns > born_ns ? (now_ns - born_ns) / 1000000000u : 0, units);
}

static const char *size_text(char text[32], const struct stat *file) {
	static const struct unit units[] = {{1u << 30, 'G'}, {1u << 20, 'M'}, {1u << 10, 'K'}, {1, 'B'}};
	return in_units(text, (uint64_t)file->st_blocks * 512, units);
}

/* Names and words come from files that anyone may have written: no control bytes reach the terminal. */
static void print_safely(const char *text) {
	for (; *text; text++)
		putchar((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text);
}

static void print_entry(const struct ledger_search_entry *entry) {
	static const char *const states[] = {"live", "ended", "unreadable"};
	char age[32];
	char size[32];
	char attempts[32] = "-";
	const struct ledger_keeper_glance *glance = &entry->glance;
	if (glance->state != LEDGER_KEEPER_UNREADABLE)
		snprintf(attempts, sizeof attempts, "%" PRIu64, glance->attempts);
	printf("%5s  %-10s  %5s  %11s  ", age_text(age, entry->born_ns), states[glance->state],
	       size_text(size, &glance->file), attempts);
	print_safely(entry->path);
	if (glance->reason)
		printf("  (%s)", glance->reason);
	else if (*glance->command)
		printf("  ");
	print_safely(glance->command);
	putchar('\n');
}

static void print_listing(const struct ledger_search_list *listing) {
	if (listing->count > 0)
		printf("%5s  %-10s  %5s  %11s  %s\n", "AGE", "STATE", "SIZE", "CONNECTIONS",
		       "LEDGER  COMMAND");
	for (size_t i = 0; i < listing->count; i++)
		print_entry(&listing->entries[i]);
}

/* ---- Pruning -------------------------------------------------------------------------------------------- */

static void prune(const struct ledger_search_list *listing) {
	size_t removed = 0;
	for (size_t i = 0; i < listing->count; i++) {
		const struct ledger_search_entry *entry = &listing->entries[i];
		if (entry->glance.state == LEDGER_KEEPER_ENDED &&
		    ledger_keeper_remove_ended(&entry->glance, entry->path))
			removed++;
	}
	printf("%zu ended ledger%s removed\n", removed, removed == 1 ? "" : "s");
}

enum { OPTION_PRUNE = OPTIONS_LONG_ONLY, OPTION_DIRECTORY };

static const struct option ls_options[] = {{"prune", no_argument, NULL, OPTION_PRUNE},
					   {"dir", required_argument, NULL, OPTION_DIRECTORY},
					   OPTIONS_COMMON,
					   {NULL, 0, NULL, 0}};

struct request {
	const char *directory;
	bool is_pruning;
};

static bool take_option(void *context, int option) {
	struct request *request = context;
	if (option == OPTION_PRUNE)
		request->is_pruning = true;
	else if (option == OPTION_DIRECTORY)
		request->directory = optarg;
	else
		return false;
	return true;
}

static const struct options_syntax syntax = {"+:hV", ls_options, help, take_option};

int cmd_ls(int argc, char **argv) {
	struct request request = {.directory = LEDGER_KEEPER_DIRECTORY};
	struct ledger_search_list listing;
	int code;
	if (!options_parse(&syntax, &request, argc, argv, &code))
		return code;
	if (optind < argc) {
		options_error(argv[optind], "ls takes no operands; see --dir");
		return OPTIONS_EXIT_USAGE;
	}
	if (!ledger_search_all(&listing, request.directory, getuid())) {
		options_error(request.directory, "%s", strerror(errno));
		return OPTIONS_EXIT_CANNOT;
	}
	if (request.is_pruning)
		prune(&listing);
	else
		print_listing(&listing);
	ledger_search_release(&listing);
	return OPTIONS_EXIT_OK;
}
