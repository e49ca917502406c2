/*
 * pqlease.yaml: what a project says about its connections. Searched from the working directory upwards; read
 * strictly, so that a mistyped key is an error and not a gate that is open.
 */
#ifndef PQLEASE_ANALYZER_GATE_GATE_CONFIG_H
#define PQLEASE_ANALYZER_GATE_GATE_CONFIG_H

#include <limits.h>

#include "analyzer/gate/gate_policy.h"
#include "analyzer/report/report_settings.h"

#define GATE_CONFIG_NAME "pqlease.yaml"

/* Where a threshold was set. */
struct gate_config_threshold {
	const struct thresholds_entry *entry;
	const char *source;
};

struct gate_config {
	const char *path;          /* NULL: there is none */
	const char *baseline_path; /* as resolved against the configuration's directory; NULL: none named */
	const char *baseline_source;
	struct gate_config_threshold *thresholds;
	size_t threshold_count;
};

/* Finds pqlease.yaml in `directory` or above it. */
bool gate_config_find(char path[PATH_MAX], const char *directory);

/* Reads a configuration into `policy` and `settings`; what they point to lives in the policy's arena. */
bool gate_config_read(struct gate_config *config, struct gate_policy *policy,
		      struct report_settings *settings, const struct gate_input *input,
		      struct gate_error *error);

/* Reads a file of suppressions: a configuration with nothing but `suppressions` and `only`, or LeakSanitizer's form. */
bool gate_config_read_suppressions(struct gate_policy *policy, const struct gate_input *input,
				   struct gate_error *error);

#endif
