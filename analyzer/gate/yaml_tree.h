/*
 * A YAML document as a tree in which every value knows its place, for configurations: maps, lists and plain
 * values. Anchors, aliases, tags, several documents, keys that are no plain values and keys given twice are refused.
 * libyaml reads; nothing outside this module knows it.
 */
#ifndef PQLEASE_ANALYZER_GATE_YAML_TREE_H
#define PQLEASE_ANALYZER_GATE_YAML_TREE_H

#include "analyzer/gate/gate_input.h"

enum yaml_kind { YAML_VALUE, YAML_LIST, YAML_MAP };

struct yaml_node {
	enum yaml_kind kind;
	const char *text; /* of a YAML_VALUE */
	const char *key;  /* of an entry of a map */
	size_t key_line;  /* lines and columns begin with 1 */
	size_t key_column;
	size_t line;
	size_t column;
	size_t count;            /* of a list or map */
	struct yaml_node *first; /* entries of a list or map, in order */
	struct yaml_node *last;
	struct yaml_node *next;
};

/* `*root` is NULL if the text holds nothing but comments. Everything is allocated from `arena`. */
bool yaml_tree_read(struct yaml_node **root, struct arena *arena, const struct gate_input *input,
		    struct gate_error *error);

/* Whether a value is what YAML has for nothing: empty, ~ or null. */
bool yaml_is_nothing(const struct yaml_node *node);

#endif
