/*
 * Who held what when a connection was refused, as the report shows it.
 */
#ifndef PQLEASE_ANALYZER_REPORT_REPORT_SNAPSHOTS_H
#define PQLEASE_ANALYZER_REPORT_REPORT_SNAPSHOTS_H

#include "analyzer/report/report.h"

/* Fills report->snapshots from the model; `frames` are those of its sites, by number. */
void report_snapshots_build(struct report *report, const struct model *model,
			    const struct site_frames *frames);

#endif
