#include "analyzer/gate/gate_config.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "analyzer/gate/quantity.h"
#include "analyzer/gate/yaml_tree.h"

struct config_reading {
	struct gate_config *config;
	struct gate_policy *policy;
	struct report_settings *settings;
	struct arena *arena;
	const struct gate_input *input;
	struct gate_error *error;
};

/* A key of a map and what takes its value into `target`. */
struct config_key {
	const char *name;
	bool (*take)(struct config_reading *reading, const struct yaml_node *value, void *target);
	size_t offset; /* of the member, for the takers of plain values */
};

#define KEY_END \
	{ NULL, NULL, 0 }

/* ---- Errors ------------------------------------------------------------------------------------- */

static bool refuse(struct config_reading *reading, const struct yaml_node *node, const char *why) {
	return gate_input_refuse(reading->error, reading->arena, reading->input->name, node->line,
				 node->column, "%s", why);
}

static bool refuse_value(struct config_reading *reading, const struct yaml_node *node, const char *wanted) {
	if (node->kind != YAML_VALUE)
		return refuse(reading, node,
			      arena_text(reading->arena, "%s expected here, not a %s", wanted,
					 node->kind == YAML_LIST ? "list" : "map"));
	return refuse(reading, node, arena_text(reading->arena, "'%s' is not %s", node->text, wanted));
}

static bool refuse_key(struct config_reading *reading, const struct yaml_node *entry,
		       const struct config_key *keys) {
	const char *known = "";
	for (const struct config_key *key = keys; key->name != NULL; key++)
		known = arena_text(reading->arena, "%s%s%s", known, *known != '\0' ? ", " : "", key->name);
	return gate_input_refuse(reading->error, reading->arena, reading->input->name, entry->key_line,
				 entry->key_column, "unknown key '%s', known here: %s", entry->key, known);
}

static const char *source_of(struct config_reading *reading, const struct yaml_node *node) {
	return arena_text(reading->arena, "%s:%zu", reading->input->name,
			  node->key != NULL ? node->key_line : node->line);
}

/* ---- Maps and lists ----------------------------------------------------------------------------- */

static bool take_map(struct config_reading *reading, const struct yaml_node *map,
		     const struct config_key *keys, void *target) {
	if (map->kind != YAML_MAP)
		return refuse_value(reading, map, "a map");
	for (const struct yaml_node *entry = map->first; entry != NULL; entry = entry->next) {
		const struct config_key *key = keys;
		while (key->name != NULL && strcmp(key->name, entry->key) != 0)
			key++;
		if (key->name == NULL)
			return refuse_key(reading, entry, keys);
		if (!key->take(reading, entry, (char *)target + key->offset))
			return false;
	}
	return true;
}

typedef bool element_taker(struct config_reading *reading, const struct yaml_node *element);

static bool take_list(struct config_reading *reading, const struct yaml_node *list, element_taker *take) {
	if (yaml_is_nothing(list))
		return true;
	if (list->kind != YAML_LIST)
		return refuse_value(reading, list, "a list");
	for (const struct yaml_node *element = list->first; element != NULL; element = element->next)
		if (!take(reading, element))
			return false;
	return true;
}

static const struct yaml_node *find_entry(const struct yaml_node *map, const char *key) {
	for (const struct yaml_node *entry = map->first; entry != NULL; entry = entry->next)
		if (strcmp(entry->key, key) == 0)
			return entry;
	return NULL;
}

static bool require(struct config_reading *reading, const struct yaml_node *map, const char *key) {
	if (find_entry(map, key) != NULL)
		return true;
	return refuse(reading, map, arena_text(reading->arena, "'%s' is missing here", key));
}

/* ---- Plain values ------------------------------------------------------------------------------- */

static bool take_text(struct config_reading *reading, const struct yaml_node *value, void *target) {
	if (value->kind != YAML_VALUE || *value->text == '\0')
		return refuse_value(reading, value, "a text");
	*(const char **)target = value->text;
	return true;
}

static bool take_count(struct config_reading *reading, const struct yaml_node *value, void *target) {
	uint64_t count;
	if (value->kind != YAML_VALUE || !quantity_parse_count(value->text, &count))
		return refuse_value(reading, value, "a count");
	*(int64_t *)target = (int64_t)count;
	return true;
}

static bool take_max(struct config_reading *reading, const struct yaml_node *value, void *target) {
	if (value->kind != YAML_VALUE || !quantity_parse_count(value->text, target))
		return refuse_value(reading, value, "a count");
	return true;
}

static bool take_date(struct config_reading *reading, const struct yaml_node *value, void *target) {
	if (value->kind != YAML_VALUE || !quantity_parse_date(value->text, target))
		return refuse_value(reading, value, "a day like 2027-01-31");
	return true;
}

/* For values that are looked at when their map is complete. */
static bool take_node(struct config_reading *reading, const struct yaml_node *value, void *target) {
	(void)reading;
	*(const struct yaml_node **)target = value;
	return true;
}

/* ---- The gate's own settings ---------------------------------------------------------------------- */

/* A list of words, or one text with commas. */
static bool take_fail_on(struct config_reading *reading, const struct yaml_node *value, void *target) {
	(void)target;
	const char *words = "";
	const struct yaml_node *first = value->kind == YAML_LIST ? value->first : value;
	for (const struct yaml_node *word = first; word != NULL;
	     word = value->kind == YAML_LIST ? word->next : NULL) {
		if (word->kind != YAML_VALUE)
			return refuse_value(reading, word, "a word like error, new or never-finished:2");
		words = arena_text(reading->arena, "%s%s%s", words, *words != '\0' ? "," : "", word->text);
	}
	const char *problem = gate_policy_fail_on(reading->policy, words, source_of(reading, value));
	return problem == NULL || refuse(reading, value, problem);
}

static bool take_baseline(struct config_reading *reading, const struct yaml_node *value, void *target) {
	const char *path = "";
	(void)target;
	if (!take_text(reading, value, &path))
		return false;
	const char *slash = strrchr(reading->input->name, '/');
	int directory_length = slash != NULL && *path != '/' ? (int)(slash - reading->input->name + 1) : 0;
	reading->config->baseline_path =
		arena_text(reading->arena, "%.*s%s", directory_length, reading->input->name, path);
	reading->config->baseline_source = source_of(reading, value);
	return true;
}

struct limits {
	const struct yaml_node *of[GATE_METRIC_COUNT];
};

#define LIMIT_KEYS                                                                                        \
	{"max-open", take_node, offsetof(struct budget_entry, limits.of[GATE_MAX_OPEN])},                 \
		{"max-utilization", take_node,                                                            \
		 offsetof(struct budget_entry, limits.of[GATE_MAX_UTILIZATION])},                         \
		{"p95-acquire", take_node, offsetof(struct budget_entry, limits.of[GATE_P95_ACQUIRE])}, { \
		"max-hold", take_node, offsetof(struct budget_entry, limits.of[GATE_MAX_HOLD])            \
	}

#define SELECTOR_KEYS                                                                        \
	{"role", take_text, offsetof(struct budget_entry, selector.role)},                   \
		{"endpoint", take_text, offsetof(struct budget_entry, selector.endpoint)},   \
		{"database", take_text, offsetof(struct budget_entry, selector.database)}, { \
		"user", take_text, offsetof(struct budget_entry, selector.user)              \
	}

struct budget_entry {
	struct gate_selector selector;
	struct limits limits;
	int64_t count; /* of expectations, capacities and reserves */
	int64_t total;
	int64_t free;
	int64_t base;
	int64_t reserved;
};

static bool add_limit(struct config_reading *reading, const struct budget_entry *entry,
		      enum gate_metric metric) {
	struct gate_budget budget = {.metric = metric, .selector = entry->selector};
	const struct yaml_node *value = entry->limits.of[metric];
	static const char *const wanted[GATE_METRIC_COUNT] = {
		[GATE_MAX_OPEN] = "a count",
		[GATE_MAX_UTILIZATION] = "a percentage like 90%",
		[GATE_P95_ACQUIRE] = "a time like 100ms",
		[GATE_MAX_HOLD] = "a time like 100ms",
	};
	if (value == NULL)
		return true;
	if (value->kind != YAML_VALUE || !gate_policy_parse_limit(metric, value->text, &budget.limit))
		return refuse_value(reading, value, wanted[metric]);
	budget.source = source_of(reading, value);
	gate_policy_add_budget(reading->policy, &budget);
	return true;
}

static bool add_limits(struct config_reading *reading, const struct budget_entry *entry) {
	for (int metric = 0; metric < GATE_METRIC_COUNT; metric++)
		if (!add_limit(reading, entry, (enum gate_metric)metric))
			return false;
	return true;
}

static bool take_gate(struct config_reading *reading, const struct yaml_node *value, void *target) {
	static const struct config_key keys[] = {
		{"fail-on", take_fail_on, 0}, {"baseline", take_baseline, 0}, LIMIT_KEYS, KEY_END};
	struct budget_entry entry = {0};
	(void)target;
	return take_map(reading, value, keys, &entry) && add_limits(reading, &entry);
}

/* ---- Budgets, expectations, reserves, capacities ----------------------------------------------------- */

static bool take_budget(struct config_reading *reading, const struct yaml_node *element) {
	static const struct config_key keys[] = {
		SELECTOR_KEYS,
		{"function", take_text, offsetof(struct budget_entry, selector.function)},
		{"file", take_text, offsetof(struct budget_entry, selector.file)},
		LIMIT_KEYS,
		KEY_END};
	struct budget_entry entry = {0};
	if (!take_map(reading, element, keys, &entry))
		return false;
	const struct gate_selector *selector = &entry.selector;
	bool is_of_site = selector->function != NULL || selector->file != NULL;
	bool is_of_pool = selector->role != NULL || selector->endpoint != NULL ||
		selector->database != NULL || selector->user != NULL;
	if (!is_of_site && !is_of_pool)
		return refuse(reading, element,
			      "a budget of nobody: give role, endpoint, database, user, function or file; "
			      "what is for the whole run stands under gate");
	if (is_of_site && is_of_pool)
		return refuse(reading, element,
			      "function and file select places, the others pools: a budget has one of both");
	if (is_of_site && entry.limits.of[GATE_MAX_UTILIZATION] != NULL)
		return refuse(reading, element, "a place has no utilization");
	return add_limits(reading, &entry);
}

static bool take_expectation(struct config_reading *reading, const struct yaml_node *element) {
	static const struct config_key keys[] = {
		SELECTOR_KEYS, {"connections", take_count, offsetof(struct budget_entry, count)}, KEY_END};
	struct budget_entry entry = {0};
	if (!take_map(reading, element, keys, &entry) || !require(reading, element, "connections"))
		return false;
	gate_policy_add_budget(reading->policy,
			       &(struct gate_budget){.metric = GATE_EXPECTED,
						     .limit = (double)entry.count,
						     .selector = entry.selector,
						     .source = source_of(reading, element)});
	return true;
}

/* "role automation: at most 55 of 60, 5 always free" */
static bool take_reserve(struct config_reading *reading, const struct yaml_node *element) {
	static const struct config_key keys[] = {SELECTOR_KEYS,
						 {"total", take_count, offsetof(struct budget_entry, total)},
						 {"free", take_count, offsetof(struct budget_entry, free)},
						 KEY_END};
	struct budget_entry entry = {0};
	if (!take_map(reading, element, keys, &entry) || !require(reading, element, "total") ||
	    !require(reading, element, "free"))
		return false;
	if (entry.free > entry.total)
		return refuse(reading, element, "more is to stay free than there is in total");
	gate_policy_add_budget(reading->policy,
			       &(struct gate_budget){.metric = GATE_RESERVED,
						     .limit = (double)(entry.total - entry.free),
						     .total = entry.total,
						     .free = entry.free,
						     .selector = entry.selector,
						     .source = source_of(reading, element)});
	return true;
}

static bool take_capacity(struct config_reading *reading, const struct yaml_node *element) {
	static const struct config_key keys[] = {
		{"role", take_text, offsetof(struct budget_entry, selector.role)},
		{"connections", take_count, offsetof(struct budget_entry, count)},
		{"base", take_count, offsetof(struct budget_entry, base)},
		{"reserved", take_count, offsetof(struct budget_entry, reserved)},
		KEY_END};
	struct budget_entry entry = {0};
	struct report_settings *settings = reading->settings;
	if (!take_map(reading, element, keys, &entry) || !require(reading, element, "connections"))
		return false;
	if (entry.count == 0)
		return refuse(reading, element, "a capacity of 0");
	if (entry.selector.role == NULL && entry.base == 0 && entry.reserved == 0) {
		settings->limit = entry.count;
		return true;
	}
	struct report_capacity *capacities =
		arena_array(reading->arena, settings->capacity_count + 1, sizeof *capacities);
	if (settings->capacity_count > 0)
		memcpy(capacities, settings->capacities, settings->capacity_count * sizeof *capacities);
	capacities[settings->capacity_count++] =
		(struct report_capacity){.role = entry.selector.role != NULL ? entry.selector.role : "*",
					 .capacity = entry.count,
					 .base_size = entry.base,
					 .reserved = entry.reserved};
	settings->capacities = capacities;
	return true;
}

#define LIST_TAKER(name, element)                                                                       \
	static bool name(struct config_reading *reading, const struct yaml_node *value, void *target) { \
		(void)target;                                                                           \
		return take_list(reading, value, element);                                              \
	}

LIST_TAKER(take_budgets, take_budget)
LIST_TAKER(take_expectations, take_expectation)
LIST_TAKER(take_reserves, take_reserve)
LIST_TAKER(take_capacities, take_capacity)

/* ---- Thresholds --------------------------------------------------------------------------------------- */

static bool parse_threshold(enum thresholds_unit unit, const char *text, double *value) {
	switch (unit) {
	case THRESHOLDS_RATIO:
		return strchr(text, '%') != NULL ? quantity_parse_percent(text, value)
						 : quantity_parse_number(text, value);
	case THRESHOLDS_SECONDS:
		return quantity_parse_seconds(text, value);
	default:
		return quantity_parse_number(text, value);
	}
}

static void note_threshold(struct config_reading *reading, const struct thresholds_entry *entry,
			   const char *source) {
	struct gate_config *config = reading->config;
	struct gate_config_threshold *grown =
		arena_array(reading->arena, config->threshold_count + 1, sizeof *grown);
	if (config->threshold_count > 0)
		memcpy(grown, config->thresholds, config->threshold_count * sizeof *grown);
	grown[config->threshold_count++] = (struct gate_config_threshold){entry, source};
	config->thresholds = grown;
}

static bool take_thresholds(struct config_reading *reading, const struct yaml_node *value, void *target) {
	static const char *const wanted[] = {[THRESHOLDS_RATIO] = "a ratio like 75% or 0.75",
					     [THRESHOLDS_COUNT] = "a number",
					     [THRESHOLDS_SECONDS] = "a time like 100ms",
					     [THRESHOLDS_PER_SECOND] = "a number per second",
					     [THRESHOLDS_PER_HOUR] = "a number per hour"};
	(void)target;
	if (yaml_is_nothing(value))
		return true;
	if (value->kind != YAML_MAP)
		return refuse_value(reading, value, "a map");
	for (const struct yaml_node *entry = value->first; entry != NULL; entry = entry->next) {
		const struct thresholds_entry *threshold = thresholds_find(entry->key);
		if (threshold == NULL)
			return gate_input_refuse(reading->error, reading->arena, reading->input->name,
						 entry->key_line, entry->key_column, "unknown threshold '%s'",
						 entry->key);
		double *member = thresholds_member(&reading->settings->thresholds, threshold);
		if (entry->kind != YAML_VALUE || !parse_threshold(threshold->unit, entry->text, member))
			return refuse_value(reading, entry, wanted[threshold->unit]);
		note_threshold(reading, threshold, source_of(reading, entry));
	}
	return true;
}

/* ---- Whose code frames are ------------------------------------------------------------------------------ */

struct code_entry {
	const struct yaml_node *of[SITE_FRAME_SYSTEM + 1];
};

static bool parse_code(struct site_frames_code *code, const struct yaml_node *pattern) {
	static const char *const names[] = {[SITE_FRAMES_MODULE] = "module:",
					    [SITE_FRAMES_PATH] = "path:",
					    [SITE_FRAMES_FUNCTION] = "function:"};
	for (size_t i = 0; pattern->kind == YAML_VALUE && i < sizeof names / sizeof names[0]; i++) {
		size_t length = strlen(names[i]);
		if (strncmp(pattern->text, names[i], length) != 0 || pattern->text[length] == '\0')
			continue;
		code->where = (enum site_frames_where)i;
		code->pattern = pattern->text + length;
		return true;
	}
	return false;
}

static bool take_code_of(struct config_reading *reading, const struct yaml_node *list,
			 enum site_frame_owner owner) {
	struct report_settings *settings = reading->settings;
	if (list->kind != YAML_LIST)
		return refuse_value(reading, list, "a list of patterns");
	struct site_frames_code *code =
		arena_array(reading->arena, settings->code_count + list->count, sizeof *code);
	if (settings->code_count > 0)
		memcpy(code, settings->code, settings->code_count * sizeof *code);
	settings->code = code;
	for (const struct yaml_node *pattern = list->first; pattern != NULL; pattern = pattern->next) {
		struct site_frames_code *next = &code[settings->code_count++];
		next->owner = owner;
		if (!parse_code(next, pattern))
			return refuse_value(reading, pattern,
					    "a pattern: function:PATTERN, module:PATTERN or path:PATTERN");
	}
	return true;
}

static bool take_code(struct config_reading *reading, const struct yaml_node *value, void *target) {
#define CODE_KEY(name, owner) \
	{ name, take_node, offsetof(struct code_entry, of[SITE_FRAME_##owner]) }
	static const struct config_key keys[] = {CODE_KEY("application", APPLICATION),
						 CODE_KEY("driver", DRIVER),
						 CODE_KEY("pool", POOL),
						 CODE_KEY("framework", FRAMEWORK),
						 CODE_KEY("interpreter", INTERPRETER),
						 CODE_KEY("system", SYSTEM),
						 KEY_END};
#undef CODE_KEY
	struct code_entry entry = {{NULL}};
	(void)target;
	if (!take_map(reading, value, keys, &entry))
		return false;
	for (int owner = 0; owner <= SITE_FRAME_SYSTEM; owner++)
		if (entry.of[owner] != NULL &&
		    !take_code_of(reading, entry.of[owner], (enum site_frame_owner)owner))
			return false;
	return true;
}

/* ---- Suppressions --------------------------------------------------------------------------------------- */

struct suppression_entry {
	struct suppression suppression;
	const struct yaml_node *stack;
	const char *function; /* short forms of a stack of one frame */
	const char *module;
	const char *file;
};

static bool take_stack(struct config_reading *reading, struct suppression_entry *entry) {
	const struct yaml_node *stack = entry->stack;
	if (stack->kind != YAML_LIST || stack->count == 0)
		return refuse_value(reading, stack, "a list of frames");
	struct suppression_frame *frames = arena_array(reading->arena, stack->count, sizeof *frames);
	size_t count = 0;
	for (const struct yaml_node *frame = stack->first; frame != NULL; frame = frame->next)
		if (frame->kind != YAML_VALUE || !suppression_parse_frame(&frames[count++], frame->text))
			return refuse_value(reading, frame,
					    "a frame: function:PATTERN, module:PATTERN, file:PATTERN or ...");
	entry->suppression.frames = frames;
	entry->suppression.frame_count = count;
	return true;
}

static bool take_frames(struct config_reading *reading, const struct yaml_node *element,
			struct suppression_entry *entry) {
	const struct suppression_frame short_forms[] = {{SUPPRESSION_FUNCTION, entry->function},
							{SUPPRESSION_MODULE, entry->module},
							{SUPPRESSION_FILE, entry->file}};
	size_t given = entry->stack != NULL;
	for (size_t i = 0; i < sizeof short_forms / sizeof short_forms[0]; i++) {
		if (short_forms[i].pattern == NULL)
			continue;
		struct suppression_frame *frame = arena_new(reading->arena, struct suppression_frame);
		*frame = short_forms[i];
		entry->suppression.frames = frame;
		entry->suppression.frame_count = 1;
		given++;
	}
	if (given > 1)
		return refuse(reading, element, "one of function, module, file and stack is enough");
	return entry->stack == NULL || take_stack(reading, entry);
}

static bool has_pattern(const struct suppression *suppression) {
	return suppression->frame_count > 0 || suppression->kind != NULL || suppression->role != NULL ||
		suppression->fingerprint != NULL;
}

static bool take_suppression(struct config_reading *reading, const struct yaml_node *element, bool is_only) {
	static const struct config_key keys[] = {
		{"reason", take_text, offsetof(struct suppression_entry, suppression.reason)},
		{"expires", take_date, offsetof(struct suppression_entry, suppression.expires)},
		{"max", take_max, offsetof(struct suppression_entry, suppression.max)},
		{"kind", take_text, offsetof(struct suppression_entry, suppression.kind)},
		{"role", take_text, offsetof(struct suppression_entry, suppression.role)},
		{"fingerprint", take_text, offsetof(struct suppression_entry, suppression.fingerprint)},
		{"function", take_text, offsetof(struct suppression_entry, function)},
		{"module", take_text, offsetof(struct suppression_entry, module)},
		{"file", take_text, offsetof(struct suppression_entry, file)},
		{"stack", take_node, offsetof(struct suppression_entry, stack)},
		KEY_END};
	struct suppression_entry entry = {.suppression = {.max = SUPPRESSION_NO_MAX,
							  .expires = INT64_MAX,
							  .is_only = is_only,
							  .name = reading->input->name,
							  .line = element->line}};
	if (!take_map(reading, element, keys, &entry) || !require(reading, element, "reason") ||
	    !take_frames(reading, element, &entry))
		return false;
	if (!has_pattern(&entry.suppression))
		return refuse(
			reading, element,
			"this would match everything: give stack, function, module, file, kind, role or "
			"fingerprint");
	if (is_only && entry.suppression.max != SUPPRESSION_NO_MAX)
		return refuse(reading, element, "max has no meaning under only");
	gate_policy_add_suppressions(reading->policy, &entry.suppression, 1);
	return true;
}

static bool take_silenced(struct config_reading *reading, const struct yaml_node *element) {
	return take_suppression(reading, element, false);
}

static bool take_judged(struct config_reading *reading, const struct yaml_node *element) {
	return take_suppression(reading, element, true);
}

LIST_TAKER(take_suppressions, take_silenced)
LIST_TAKER(take_only, take_judged)

/* ---- Files ------------------------------------------------------------------------------------------------ */

static bool read_tree(struct config_reading *reading, const struct config_key *keys) {
	struct yaml_node *root;
	if (!yaml_tree_read(&root, reading->arena, reading->input, reading->error))
		return false;
	return root == NULL || take_map(reading, root, keys, reading->config);
}

bool gate_config_read(struct gate_config *config, struct gate_policy *policy,
		      struct report_settings *settings, const struct gate_input *input,
		      struct gate_error *error) {
	static const struct config_key keys[] = {{"gate", take_gate, 0},
						 {"budgets", take_budgets, 0},
						 {"expectations", take_expectations, 0},
						 {"reserved", take_reserves, 0},
						 {"capacity", take_capacities, 0},
						 {"thresholds", take_thresholds, 0},
						 {"code", take_code, 0},
						 {"suppressions", take_suppressions, 0},
						 {"only", take_only, 0},
						 KEY_END};
	struct config_reading reading = {config, policy, settings, &policy->arena, input, error};
	*config = (struct gate_config){.path = input->name};
	return read_tree(&reading, keys);
}

bool gate_config_read_suppressions(struct gate_policy *policy, const struct gate_input *input,
				   struct gate_error *error) {
	static const struct config_key keys[] = {
		{"suppressions", take_suppressions, 0}, {"only", take_only, 0}, KEY_END};
	struct gate_config config = {0};
	struct config_reading reading = {&config, policy, NULL, &policy->arena, input, error};
	struct suppression *suppressions;
	size_t count;
	if (!suppression_is_lsan(input))
		return read_tree(&reading, keys);
	if (!suppression_parse_lsan(&suppressions, &count, &policy->arena, input, error))
		return false;
	gate_policy_add_suppressions(policy, suppressions, count);
	return true;
}

bool gate_config_find(char path[PATH_MAX], const char *directory) {
	size_t length = strlen(directory);
	if (length + sizeof "/" GATE_CONFIG_NAME > PATH_MAX)
		return false;
	memcpy(path, directory, length + 1);
	for (;;) {
		while (length > 0 && path[length - 1] == '/')
			length--;
		strcpy(path + length, "/" GATE_CONFIG_NAME);
		if (access(path, F_OK) == 0)
			return true;
		if (length == 0)
			return false;
		while (length > 0 && path[length - 1] != '/')
			length--;
	}
}
