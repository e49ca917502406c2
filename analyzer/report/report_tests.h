/*
 * The tests that leases were taken in, as far as their names were recorded.
 */
#ifndef PQLEASE_ANALYZER_REPORT_REPORT_TESTS_H
#define PQLEASE_ANALYZER_REPORT_REPORT_TESTS_H

#include "analyzer/report/report.h"

/* A recorded name without the phase that pytest adds: "a.py::test_b (call)" is "a.py::test_b". NULL if there is none. */
const char *report_tests_name(struct arena *arena, const char *recorded);

/* Fills report->tests. */
void report_tests_build(struct report *report, const struct model *model);

#endif
