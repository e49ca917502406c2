/*
 * pqlease who: a server process id, as pg_stat_activity shows it, to the process and the line of code behind it.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analyzer/server/backend_search.h"
#include "analyzer/commands/commands.h"
#include "analyzer/instant.h"
#include "analyzer/ledger/ledger_keeper.h"
#include "analyzer/ledger/ledger_load.h"
#include "analyzer/ledger/ledger_search.h"
#include "analyzer/commands/options.h"
#include "analyzer/judge/release_kind.h"
#include "analyzer/render/text_page.h"
#include "analyzer/server/server_witness.h"
#include "analyzer/symbols/symbol_source.h"
#include "analyzer/text.h"

static const char help[] = "usage: pqlease who [OPTIONS] PID [LEDGER]\n\n"
			   "Says which process, role and line of code took the connection whose server "
			   "process is PID, live or afterwards:\n"
			   "pg_stat_activity and the server's log show that number. Without LEDGER the "
			   "newest one of this user. Servers\n"
			   "give numbers out again: several connections are listed with the newest first. "
			   "Closed ones are found as far as\n"
			   "the history reaches. Exits 2 if there is none.\n\n"
			   "  --server INFO  ask the server there what it knows of it\n"
			   "  --json         for programs\n"
			   "  --help         this text\n"
			   "  --version      the version\n";

enum { OPTION_JSON = OPTIONS_LONG_ONLY, OPTION_SERVER };

static const struct option who_options[] = {{"json", no_argument, NULL, OPTION_JSON},
					    {"server", required_argument, NULL, OPTION_SERVER},
					    OPTIONS_COMMON,
					    {NULL, 0, NULL, 0}};

struct answer {
	const struct model *model;
	struct arena arena;
	struct site_frames_namer namer;
	struct backend_matches found;
	int32_t backend_pid;
	const struct server_reading *server; /* NULL: not asked */
};

struct request {
	int32_t backend_pid;
	bool is_json;
	const char *conninfo; /* NULL: no server is asked */
};

/* ---- Facts ------------------------------------------------------------------------------------ */

/* NULL if the stack is unknown. */
static const struct site_frame *frame_of(struct answer *answer, uint32_t site, struct site_frames *frames) {
	if (site < MODEL_SITE_FIRST || site >= answer->model->site_count)
		return NULL;
	site_frames_resolve(frames, &answer->namer, site);
	return frames->application != SITE_NO_FRAME ? &frames->frames[frames->application] : NULL;
}

static const char *instant_of(struct answer *answer, uint64_t monotonic_ns) {
	char *text = arena_array(&answer->arena, INSTANT_TEXT_BYTES, 1);
	if (monotonic_ns == 0)
		return NULL;
	instant_format(text, model_realtime_ns(answer->model, monotonic_ns));
	return text;
}

static double seconds_of(const struct backend_match *match) {
	return match->until_ns > match->taken_ns ? (double)(match->until_ns - match->taken_ns) / 1e9 : 0;
}

static const char *state_of(const struct answer *answer, const struct backend_match *match) {
	static const char *const states[] = {[BACKEND_OPEN] = "open",
					     [BACKEND_RELEASED] = "released",
					     [BACKEND_LEFT] = "never finished",
					     [BACKEND_OTHER_PROCESS] = "used by another process"};
	const struct model_lease *lease = match->lease;
	if (lease == NULL)
		return states[match->state];
	if (lease->state == MODEL_LEASE_CONNECTING || lease->state == MODEL_LEASE_RESETTING)
		return "connecting";
	if (lease->state == MODEL_LEASE_FAILED)
		return "failed";
	if (!answer->model->has_uses)
		return states[match->state];
	return lease->is_active ? "active" : lease->is_in_transaction ? "in_transaction" : "idle";
}

/* ---- Text ------------------------------------------------------------------------------------- */

static const char *describe_place(struct text_page *page, const struct site_frame *frame) {
	if (frame == NULL)
		return "(stack unavailable)";
	const char *place = frame->file != NULL ? frame->file : frame->module;
	const char *rest = frame->file != NULL && frame->line != 0
		? arena_text(&page->arena, ":%" PRIu32, frame->line)
		: frame->file == NULL ? arena_text(&page->arena, "+0x%" PRIx64, frame->offset)
				      : "";
	return arena_text(&page->arena, "%s%s %s", text_page_fit(page, place, 48), rest,
			  frame->function != NULL ? text_printable(&page->arena, frame->function) : "");
}

static void print_place(struct answer *answer, struct text_page *page, const char *head, uint32_t site) {
	struct site_frames frames;
	const struct site_frame *frame = frame_of(answer, site, &frames);
	text_page_line(page, TEXT_PAGE_PLAIN, head, "%s", describe_place(page, frame));
}

static enum release_kind released_by(struct answer *answer, const struct backend_match *match) {
	struct site_frames frames = {0};
	frame_of(answer, match->release_site, &frames);
	return release_kind_of(&frames, match->release_facts);
}

/* "released by the program, held 1.2 s" */
static const char *say_state(struct answer *answer, struct text_page *page,
			     const struct backend_match *match) {
	static const char *const by[RELEASE_KIND_COUNT] = {
		[RELEASE_EXPLICIT] = " by the program",
		[RELEASE_DROPPED] = " by dropping the last reference",
		[RELEASE_COLLECTOR] = " by a garbage collector",
		[RELEASE_EXIT] = " by the end of the process",
		[RELEASE_OTHER_PROCESS] = " by another process",
		[RELEASE_UNKNOWN] = ""};
	return arena_text(&page->arena, "%s%s, held %s%s", state_of(answer, match),
			  match->state == BACKEND_RELEASED ? by[released_by(answer, match)] : "",
			  match->until_ns != 0 ? text_page_seconds(page, seconds_of(match)) : "?",
			  match->state == BACKEND_OPEN ? " so far" : "");
}

static void print_match(struct answer *answer, struct text_page *page, const struct backend_match *match) {
	const struct model_process *process = match->process;
	const char *program = process == NULL ? ""
		: *process->script != '\0'    ? process->script
					      : process->exe;
	const char *taken = instant_of(answer, match->taken_ns);
	bool is_elsewhere = match->state == BACKEND_OTHER_PROCESS;
	text_page_line(page, TEXT_PAGE_HEADING, "", "backend %" PRId32 ": %s", answer->backend_pid,
		       say_state(answer, page, match));
	text_page_line(page, TEXT_PAGE_PLAIN, "  process   ", "pid %" PRId32 ", role %s, %s", match->pid,
		       text_page_fit(page, match->role, 24), text_page_fit(page, program, 44));
	print_place(answer, page, "  taken at  ", match->site);
	text_page_line(page, TEXT_PAGE_PLAIN, "            ", "%s",
		       taken != NULL ? taken : "at an unknown time");
	if (is_elsewhere || match->use_site >= MODEL_SITE_FIRST)
		print_place(answer, page, "  used at   ",
			    is_elsewhere ? match->release_site : match->use_site);
	if (match->state == BACKEND_RELEASED)
		print_place(answer, page, "  released  ", match->release_site);
	if (*match->test != '\0')
		text_page_line(page, TEXT_PAGE_PLAIN, "  test      ", "%s",
			       text_page_fit(page, match->test, 80));
}

static void print_session(struct answer *answer, struct text_page *page) {
	const struct server_session *session =
		answer->server != NULL ? server_witness_session(answer->server, answer->backend_pid) : NULL;
	if (answer->server != NULL && answer->server->is_behind_pooler)
		text_page_line(page, TEXT_PAGE_PLAIN, "server      ",
			       "a pooler is in between: its numbers are its own");
	else if (answer->server != NULL && session == NULL)
		text_page_line(page, TEXT_PAGE_PLAIN, "server      ", "has no such session now");
	else if (session != NULL)
		text_page_line(
			page, TEXT_PAGE_PLAIN, "server      ", "%s, user %s, database %s, application %s%s",
			*session->state != '\0' ? session->state : "state not visible",
			text_page_fit(page, session->user, 16), text_page_fit(page, session->database, 16),
			text_page_fit(page, session->application_name, 20),
			session->holds_advisory_lock ? ", holds advisory locks" : "");
}

static void print_text(struct answer *answer) {
	struct text_page page = {.stream = stdout,
				 .use_colors = options_use_color(OPTIONS_COLOR_AUTO, STDOUT_FILENO)};
	for (size_t i = 0; i < answer->found.count; i++)
		print_match(answer, &page, &answer->found.matches[i]);
	print_session(answer, &page);
	text_page_end(&page);
}

/* ---- JSON ------------------------------------------------------------------------------------- */

static json_t *text_value(struct answer *answer, const char *text) {
	return text != NULL && *text != '\0' ? json_string(text_valid_utf8(&answer->arena, text))
					     : json_null();
}

static json_t *place_value(struct answer *answer, uint32_t site) {
	struct site_frames frames;
	const struct site_frame *frame = frame_of(answer, site, &frames);
	json_t *object = json_object();
	if (frame == NULL) {
		json_decref(object);
		return json_null();
	}
	json_object_set_new(object, "function", text_value(answer, frame->function));
	json_object_set_new(object, "file", text_value(answer, frame->file));
	json_object_set_new(object, "line", frame->line != 0 ? json_integer(frame->line) : json_null());
	json_object_set_new(object, "module", text_value(answer, frame->module));
	json_object_set_new(object, "fingerprint", json_string(frames.fingerprint));
	return object;
}

static json_t *match_value(struct answer *answer, const struct backend_match *match) {
	const struct model_process *process = match->process;
	bool has_ended = match->state == BACKEND_RELEASED || match->state == BACKEND_LEFT;
	json_t *object = json_object();
	json_object_set_new(object, "state", json_string(state_of(answer, match)));
	json_object_set_new(object, "pid", json_integer(match->pid));
	json_object_set_new(object, "thread", match->thread != 0 ? json_integer(match->thread) : json_null());
	json_object_set_new(object, "role", text_value(answer, match->role));
	json_object_set_new(object, "exe", text_value(answer, process != NULL ? process->exe : NULL));
	json_object_set_new(object, "script", text_value(answer, process != NULL ? process->script : NULL));
	json_object_set_new(object, "taken", text_value(answer, instant_of(answer, match->taken_ns)));
	json_object_set_new(object, "ended",
			    has_ended ? text_value(answer, instant_of(answer, match->until_ns))
				      : json_null());
	json_object_set_new(object, "age", match->until_ns != 0 ? json_real(seconds_of(match)) : json_null());
	json_object_set_new(object, "taken_at", place_value(answer, match->site));
	json_object_set_new(object, "used_at", place_value(answer, match->use_site));
	json_object_set_new(object, "released_at",
			    match->state == BACKEND_RELEASED ? place_value(answer, match->release_site)
							     : json_null());
	json_object_set_new(object, "released_by",
			    match->state == BACKEND_RELEASED
				    ? json_string(release_kind_name(released_by(answer, match)))
				    : json_null());
	json_object_set_new(object, "test", text_value(answer, match->test));
	return object;
}

static json_t *session_value(struct answer *answer) {
	const struct server_session *session = answer->server != NULL && !answer->server->is_behind_pooler
		? server_witness_session(answer->server, answer->backend_pid)
		: NULL;
	json_t *object = session != NULL ? json_object() : json_null();
	if (session == NULL)
		return object;
	json_object_set_new(object, "state", text_value(answer, session->state));
	json_object_set_new(object, "user", text_value(answer, session->user));
	json_object_set_new(object, "database", text_value(answer, session->database));
	json_object_set_new(object, "application_name", text_value(answer, session->application_name));
	json_object_set_new(object, "advisory_locks", json_boolean(session->holds_advisory_lock));
	return object;
}

static void print_json(struct answer *answer) {
	json_t *object = json_object();
	json_t *matches = json_array();
	for (size_t i = 0; i < answer->found.count; i++)
		json_array_append_new(matches, match_value(answer, &answer->found.matches[i]));
	json_object_set_new(object, "schema", json_string("pqlease/who-1"));
	json_object_set_new(object, "backend_pid", json_integer(answer->backend_pid));
	json_object_set_new(object, "matches", matches);
	json_object_set_new(object, "session", session_value(answer));
	json_dumpf(object, stdout, JSON_INDENT(2));
	fputc('\n', stdout);
	json_decref(object);
}

/* ---- The command ------------------------------------------------------------------------------ */

/* Nothing in the ledger: if the server has such a session, a program without the shim has it. */
static void say_not_recorded(const struct answer *answer, const char *path) {
	const struct server_session *session =
		answer->server != NULL ? server_witness_session(answer->server, answer->backend_pid) : NULL;
	if (session != NULL)
		options_error(path,
			      "no connection with server process %" PRId32
			      " is recorded there; the server has it: user %s, database %s, application '%s'",
			      answer->backend_pid, session->user, session->database,
			      session->application_name);
	else
		options_error(path, "no connection with server process %" PRId32 " is recorded there%s",
			      answer->backend_pid,
			      answer->model->history_overwritten > 0
				      ? " (the history reaches back only so far)"
				      : "");
}

static int answer_from(struct answer *answer, const char *path, bool is_json) {
	backend_search(&answer->found, &answer->arena, answer->model, answer->backend_pid);
	if (answer->found.count == 0) {
		say_not_recorded(answer, path);
		return OPTIONS_EXIT_CANNOT;
	}
	answer->namer = (struct site_frames_namer){
		.arena = &answer->arena,
		.model = answer->model,
		.symbols = symbol_source_open(path, answer->model->mapped_bytes, NULL)};
	if (is_json)
		print_json(answer);
	else
		print_text(answer);
	site_frames_namer_release(&answer->namer);
	symbol_source_close(answer->namer.symbols);
	return OPTIONS_EXIT_OK;
}

static int ask_and_answer(const struct request *request, const struct model *model, const char *path) {
	struct server_reading reading;
	struct answer answer = {.model = model, .backend_pid = request->backend_pid};
	const char *problem = request->conninfo != NULL
		? server_witness_read(&reading, &answer.arena, request->conninfo)
		: NULL;
	int code = OPTIONS_EXIT_CANNOT;
	if (request->conninfo != NULL && problem == NULL)
		answer.server = &reading;
	if (problem != NULL)
		options_error("--server", "%s", problem);
	else
		code = answer_from(&answer, path, request->is_json);
	arena_release(&answer.arena);
	return code;
}

static int look_up(const struct request *request, const char *path) {
	struct model model;
	const char *problem = ledger_load(&model, path);
	if (problem != NULL) {
		options_error(path, "%s", problem);
		return OPTIONS_EXIT_CANNOT;
	}
	int code = ask_and_answer(request, &model, path);
	model_release(&model);
	return code;
}

static bool take_option(void *context, int option) {
	struct request *request = context;
	const char *reason = option == OPTION_SERVER ? server_witness_refuse(optarg) : NULL;
	request->is_json |= option == OPTION_JSON;
	if (option == OPTION_SERVER)
		request->conninfo = optarg;
	if (reason != NULL)
		options_error("--server", "%s", reason);
	return reason == NULL && (option == OPTION_JSON || option == OPTION_SERVER);
}

/* Poolers make negative numbers up. */
static bool parse_pid(const char *text, int32_t *backend_pid) {
	char *end;
	errno = 0;
	long value = strtol(text, &end, 10);
	if (end == text || *end != '\0' || errno != 0 || value < INT32_MIN || value > INT32_MAX ||
	    value == 0) {
		options_error(text, "not the number of a server process");
		return false;
	}
	*backend_pid = (int32_t)value;
	return true;
}

static const struct options_syntax syntax = {"+:hV", who_options, help, take_option};

int cmd_who(int argc, char **argv) {
	char newest[PATH_MAX];
	struct request request = {0};
	int code;
	if (!options_parse(&syntax, &request, argc, argv, &code))
		return code;
	if (argc - optind < 1 || argc - optind > 2) {
		options_error("who", "one PID, and one LEDGER at most");
		return OPTIONS_EXIT_USAGE;
	}
	if (!parse_pid(argv[optind], &request.backend_pid))
		return OPTIONS_EXIT_USAGE;
	const char *ledger = ledger_search_meant(newest, argc - optind == 2 ? argv[optind + 1] : NULL);
	return ledger != NULL ? look_up(&request, ledger) : OPTIONS_EXIT_CANNOT;
}
