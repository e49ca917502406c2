/*
 * Exports: a run in the formats of other tools. An exporter is one file, export_<format>.c, and one line in exports.def;
 * it sees the model (for single leases) and the report (for names). Text in both is raw.
 */
#ifndef PQLEASE_ANALYZER_EXPORT_EXPORT_H
#define PQLEASE_ANALYZER_EXPORT_EXPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "analyzer/model.h"
#include "analyzer/report/report.h"

/* One place that leases were taken at. */
struct export_site {
	const struct report_site *site;
	uint64_t leases;  /* ended, left behind and open */
	uint64_t held_ns; /* by all of them, to now or to the end of the run at most */
};

/* A lease or an attempt whose detail was kept. */
struct export_lease {
	int64_t pid;
	int64_t thread;      /* REPORT_UNKNOWN */
	int64_t backend_pid; /* REPORT_UNKNOWN */
	const char *role;
	const char *test;               /* NULL */
	const struct report_site *site; /* NULL */
	uint64_t begun_ns;
	uint64_t established_ns; /* 0: never */
	uint64_t ended_ns;       /* 0: open */
	const char *end;         /* "finished", "failed", "abandoned", "left", "open" */
	uint32_t uses;
};

struct export_run {
	struct arena *arena;
	const struct model *model;
	const struct report *report;
	struct export_site *sites; /* in the report's order, those that held something */
	size_t site_count;
	struct export_lease *leases; /* by the instant when they were begun */
	size_t lease_count;
};

typedef void export_function(const struct export_run *run, FILE *stream);

#define EXPORT(name, function) export_function function;
#include "analyzer/export/exports.def"
#undef EXPORT

/* NULL if there is no such format. */
export_function *export_find(const char *name);
/* "pprof, folded, ..." */
const char *export_names(void);

/* Everything is allocated from `arena`; the model and the report must outlive it. */
void export_gather(struct export_run *run, struct arena *arena, const struct model *model,
		   const struct report *report);

/* For exporters: printable, "book_order (orders.py:25)", "shop+0x2345". */
const char *export_frame_name(struct arena *arena, const struct site_frame *frame);
/* Printable place of a lease. */
const char *export_place(struct arena *arena, const struct report_site *site);

#endif
