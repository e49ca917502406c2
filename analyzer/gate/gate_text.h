/*
 * The gate's verdict for people and for logs: what was judged, why it is red, what the baseline and the suppressions
 * did. One line for each.
 */
#ifndef PQLEASE_ANALYZER_GATE_GATE_TEXT_H
#define PQLEASE_ANALYZER_GATE_GATE_TEXT_H

#include <stdio.h>

struct report;

/* `report` has been judged. Files below `source_root` (absolute, may be NULL) are named relative to it. */
void gate_text_write(const struct report *report, const char *source_root, FILE *stream);

#endif
