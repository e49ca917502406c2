/*
 * The gate's verdict for people and for logs: what was judged, why it is red, what the baseline and the suppressions
 * did. One line for each.
 */
#ifndef PQLEASE_ANALYZER_GATE_GATE_TEXT_H
#define PQLEASE_ANALYZER_GATE_GATE_TEXT_H

#include <stdio.h>

struct report;

/* `report` has been judged. */
void gate_text_write(const struct report *report, FILE *stream);

#endif
