/*
 * pqlease diff: is a run worse than another one?
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "analyzer/commands/commands.h"
#include "analyzer/commands/options.h"
#include "analyzer/output_file.h"
#include "analyzer/render/render_diff.h"
#include "analyzer/judge/run_diff.h"

static const char help[] =
	"usage: pqlease diff [OPTIONS] BASE NEW\n"
	"       pqlease diff [OPTIONS] BASE... -- NEW...\n"
	"       pqlease diff [OPTIONS] --base BASE [--base BASE]... NEW...\n\n"
	"Compares runs, each a ledger or a JSON report: findings by fingerprint, and the distributions of "
	"the\n"
	"times to connect and of the times held. A time is worse only if the rank sum test says so (p < "
	"0.05,\n"
	"at least 10 values, corrected for the number of comparisons), its median rose by 10 % and by 1 ms,\n"
	"and by more than the runs of one side differ. Exits 1 when worse, 2 if a run cannot be read or "
	"trusted.\n\n"
	"  --base BASE      a run to compare with, repeatable\n"
	"  --format=FORMAT  text (default) or json\n"
	"  -o FILE          write to FILE, whole or not at all\n"
	"  --color=WHEN     auto (default), always or never\n"
	"  --help           this text\n";

enum { OPTION_BASE = OPTIONS_LONG_ONLY, OPTION_FORMAT, OPTION_COLOR };

static const struct option diff_options[] = {{"base", required_argument, NULL, OPTION_BASE},
					     {"format", required_argument, NULL, OPTION_FORMAT},
					     {"color", required_argument, NULL, OPTION_COLOR},
					     OPTIONS_COMMON,
					     {NULL, 0, NULL, 0}};

struct plan {
	char **base;
	size_t base_count;
	char **other;
	size_t other_count;
	bool is_json;
	enum options_color color;
	const char *output_path;
};

static bool take_format(struct plan *plan, const char *name) {
	plan->is_json = strcmp(name, "json") == 0;
	if (plan->is_json || strcmp(name, "text") == 0)
		return true;
	options_error("--format", "'%s' is none of text, json", name);
	return false;
}

static bool take_option(void *context, int option) {
	struct plan *plan = context;
	switch (option) {
	case OPTION_BASE:
		plan->base[plan->base_count++] = optarg;
		return true;
	case OPTION_FORMAT:
		return take_format(plan, optarg);
	case OPTION_COLOR:
		return options_parse_color(optarg, &plan->color);
	case 'o':
		plan->output_path = optarg;
		return true;
	default:
		return false;
	}
}

/* BASE NEW, or BASE... -- NEW..., or with --base NEW... */
static bool split_operands(struct plan *plan, char **operands, size_t count) {
	size_t split = plan->base_count > 0 ? 0 : count == 2 ? 1 : count;
	size_t gap = 0;
	for (size_t i = 0; plan->base_count == 0 && i < count; i++)
		if (strcmp(operands[i], "--") == 0) {
			split = i;
			gap = 1;
			break;
		}
	for (size_t i = 0; i < split; i++)
		plan->base[plan->base_count++] = operands[i];
	plan->other = operands + split + gap;
	plan->other_count = count > split + gap ? count - split - gap : 0;
	if (plan->base_count > 0 && plan->other_count > 0)
		return true;
	options_error("diff", "BASE and NEW are needed, see pqlease diff --help");
	return false;
}

static bool read_side(struct run_diff_side *side, struct arena *arena, char **paths, size_t count) {
	struct run_summary *runs = arena_array(arena, count, sizeof *runs);
	*side = (struct run_diff_side){runs, count};
	for (size_t i = 0; i < count; i++)
		if (!run_summary_read(&runs[i], arena, paths[i]))
			return false;
	return true;
}

static void render(const struct plan *plan, const struct run_diff *diff, FILE *stream) {
	if (plan->is_json)
		render_diff_json(diff, stream);
	else
		render_diff_text(diff, options_use_color(plan->color, fileno(stream)), stream);
}

static bool write_out(const struct plan *plan, const struct run_diff *diff) {
	struct output_file file;
	if (plan->output_path == NULL) {
		render(plan, diff, stdout);
		return true;
	}
	int error = output_file_open(&file, plan->output_path);
	if (error == 0) {
		render(plan, diff, file.stream);
		error = output_file_close(&file);
	}
	if (error != 0)
		options_error(plan->output_path, "%s", output_file_error_text(error));
	return error == 0;
}

static int compare(const struct plan *plan, struct arena *arena) {
	struct run_diff_side base;
	struct run_diff_side other;
	struct run_diff diff;
	if (!read_side(&base, arena, plan->base, plan->base_count) ||
	    !read_side(&other, arena, plan->other, plan->other_count))
		return OPTIONS_EXIT_CANNOT;
	run_diff_compare(&diff, arena, base, other);
	if (!write_out(plan, &diff) || !diff.is_trusted)
		return OPTIONS_EXIT_CANNOT;
	return diff.is_worse ? OPTIONS_EXIT_GATE : OPTIONS_EXIT_OK;
}

static const struct options_syntax syntax = {"+:o:hV", diff_options, help, take_option};

int cmd_diff(int argc, char **argv) {
	struct arena arena = {NULL};
	struct plan plan = {.base = arena_array(&arena, (size_t)argc, sizeof(char *))};
	int code;
	if (options_parse(&syntax, &plan, argc, argv, &code))
		code = split_operands(&plan, argv + optind, (size_t)(argc - optind)) ? compare(&plan, &arena)
										     : OPTIONS_EXIT_USAGE;
	arena_release(&arena);
	return code;
}
