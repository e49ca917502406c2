/*
 * How many connections were in use at the end of each second, minute and hour.
 *
 * The shim writes its timelines when uses end, not when they begin (that would be a shared line for every command), so a
 * use that lasts is in none of the seconds it spans. The uses themselves are known, ended ones as far as their ring goes
 * back, and make the timeline whole: the higher of both counts.
 */
#ifndef PQLEASE_ANALYZER_LEDGER_USE_TIMELINE_H
#define PQLEASE_ANALYZER_LEDGER_USE_TIMELINE_H

#include "analyzer/model.h"

/* Rewrites the series of connections in use of the run and of each pool that has a timeline, a cell for each epoch that the ledger keeps. The model is settled. */
void use_timeline_fill(struct model *model);

#endif
