/*
 * The findings as JUnit XML (the schema of Jenkins' xUnit plugin): a case for each test that took leases, and one for each
 * place in the program that belongs to no test. A case fails where the gate does; without a gate, by errors.
 */
#ifndef PQLEASE_ANALYZER_RENDER_RENDER_JUNIT_H
#define PQLEASE_ANALYZER_RENDER_RENDER_JUNIT_H

#include "analyzer/render/render.h"

void render_junit(const struct report *report, const struct render_options *options, FILE *stream);

#endif
