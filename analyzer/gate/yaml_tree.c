#include "analyzer/gate/yaml_tree.h"

#include <string.h>

#include <yaml.h>

enum { DEPTH_MAX = 16, ENTRIES_MAX = 10000 };

struct building {
	struct arena *arena;
	const struct gate_input *input;
	struct gate_error *error;
	struct yaml_node *root;
	struct yaml_node *open[DEPTH_MAX]; /* lists and maps that have not ended, outermost first */
	size_t depth;
	struct yaml_node *pending; /* a key whose value comes next */
	size_t documents;
};

static bool refuse_at(struct building *building, yaml_mark_t mark, const char *why) {
	return gate_input_refuse(building->error, building->arena, building->input->name, mark.line + 1,
				 mark.column + 1, "%s", why);
}

static bool has_key(const struct yaml_node *map, const char *key) {
	for (const struct yaml_node *entry = map->first; entry != NULL; entry = entry->next)
		if (strcmp(entry->key, key) == 0)
			return true;
	return false;
}

static void append(struct yaml_node *parent, struct yaml_node *node) {
	if (parent->last != NULL)
		parent->last->next = node;
	else
		parent->first = node;
	parent->last = node;
	parent->count++;
}

static bool take_key(struct building *building, const yaml_event_t *event) {
	struct yaml_node *map = building->open[building->depth - 1];
	if (event->type != YAML_SCALAR_EVENT)
		return refuse_at(building, event->start_mark, "a key must be a plain value");
	const char *key = (const char *)event->data.scalar.value;
	if (has_key(map, key))
		return gate_input_refuse(building->error, building->arena, building->input->name,
					 event->start_mark.line + 1, event->start_mark.column + 1,
					 "key '%s' is given twice", key);
	building->pending = arena_new(building->arena, struct yaml_node);
	building->pending->key = arena_copy(building->arena, key, strlen(key));
	building->pending->key_line = event->start_mark.line + 1;
	building->pending->key_column = event->start_mark.column + 1;
	return true;
}

/* The node that `event` is or begins, hung where it belongs. */
static struct yaml_node *place_node(struct building *building, const yaml_event_t *event,
				    enum yaml_kind kind) {
	struct yaml_node *node = building->pending;
	if (node == NULL)
		node = arena_new(building->arena, struct yaml_node);
	building->pending = NULL;
	node->kind = kind;
	node->line = event->start_mark.line + 1;
	node->column = event->start_mark.column + 1;
	if (building->depth > 0)
		append(building->open[building->depth - 1], node);
	else
		building->root = node;
	return node;
}

static bool take_value(struct building *building, const yaml_event_t *event) {
	struct yaml_node *node = place_node(building, event, YAML_VALUE);
	node->text = arena_copy(building->arena, (const char *)event->data.scalar.value,
				event->data.scalar.length);
	if (strlen(node->text) != event->data.scalar.length)
		return refuse_at(building, event->start_mark, "a zero byte in a value");
	return true;
}

static bool open_collection(struct building *building, const yaml_event_t *event, enum yaml_kind kind) {
	if (building->depth == DEPTH_MAX)
		return refuse_at(building, event->start_mark, "nested too deeply");
	struct yaml_node *node = place_node(building, event, kind);
	building->open[building->depth++] = node;
	return true;
}

static bool has_frills(const yaml_event_t *event) {
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		return event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL;
	case YAML_SEQUENCE_START_EVENT:
		return event->data.sequence_start.anchor != NULL || event->data.sequence_start.tag != NULL;
	case YAML_MAPPING_START_EVENT:
		return event->data.mapping_start.anchor != NULL || event->data.mapping_start.tag != NULL;
	default:
		return event->type == YAML_ALIAS_EVENT;
	}
}

static bool is_key_next(const struct building *building) {
	return building->depth > 0 && building->open[building->depth - 1]->kind == YAML_MAP &&
		building->pending == NULL;
}

static bool take_content(struct building *building, const yaml_event_t *event) {
	if (has_frills(event))
		return refuse_at(building, event->start_mark, "anchors, aliases and tags are not allowed");
	if (building->depth > 0 && building->open[building->depth - 1]->count == ENTRIES_MAX)
		return refuse_at(building, event->start_mark, "too many entries");
	if (is_key_next(building))
		return take_key(building, event);
	if (event->type == YAML_SCALAR_EVENT)
		return take_value(building, event);
	return open_collection(building, event,
			       event->type == YAML_MAPPING_START_EVENT ? YAML_MAP : YAML_LIST);
}

static bool take_event(struct building *building, const yaml_event_t *event) {
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (building->documents++ > 0)
			return refuse_at(building, event->start_mark, "a second document");
		return true;
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		building->depth--;
		return true;
	case YAML_ALIAS_EVENT:
	case YAML_SCALAR_EVENT:
	case YAML_SEQUENCE_START_EVENT:
	case YAML_MAPPING_START_EVENT:
		return take_content(building, event);
	default:
		return true;
	}
}

static bool refuse_syntax(struct building *building, const yaml_parser_t *parser) {
	const char *problem = parser->problem != NULL ? parser->problem : "not YAML";
	if (parser->error == YAML_READER_ERROR) {
		size_t line = 1;
		for (size_t i = 0; i < parser->problem_offset && i < building->input->length; i++)
			line += building->input->text[i] == '\n';
		return gate_input_refuse(building->error, building->arena, building->input->name, line, 0,
					 "%s", problem);
	}
	return refuse_at(building, parser->problem_mark, problem);
}

static bool build(struct building *building, yaml_parser_t *parser) {
	yaml_event_type_t type = YAML_NO_EVENT;
	while (type != YAML_STREAM_END_EVENT) {
		yaml_event_t event;
		if (!yaml_parser_parse(parser, &event))
			return refuse_syntax(building, parser);
		type = event.type;
		bool is_taken = take_event(building, &event);
		yaml_event_delete(&event);
		if (!is_taken)
			return false;
	}
	return true;
}

bool yaml_tree_read(struct yaml_node **root, struct arena *arena, const struct gate_input *input,
		    struct gate_error *error) {
	struct building building = {.arena = arena, .input = input, .error = error};
	yaml_parser_t parser;
	if (!yaml_parser_initialize(&parser))
		return gate_input_refuse(error, arena, input->name, 0, 0, "out of memory");
	yaml_parser_set_input_string(&parser, (const unsigned char *)input->text, input->length);
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	bool is_built = build(&building, &parser);
	yaml_parser_delete(&parser);
	*root = building.root;
	if (is_built && building.root != NULL && yaml_is_nothing(building.root))
		*root = NULL;
	return is_built;
}

bool yaml_is_nothing(const struct yaml_node *node) {
	return node->kind == YAML_VALUE &&
		(*node->text == '\0' || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0);
}
