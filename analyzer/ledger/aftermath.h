/*
 * Settles a model that was just read: which processes are gone, what the gone ones left, whether the run
 * is live, and up to when its numbers go. Afterwards nothing in the model depends on when it is looked
 * at, unless a process of the run is still there.
 */
#ifndef PQLEASE_ANALYZER_LEDGER_AFTERMATH_H
#define PQLEASE_ANALYZER_LEDGER_AFTERMATH_H

#include "analyzer/ledger/liveness.h"
#include "analyzer/model.h"

void aftermath_settle(struct model *model, const struct liveness_observer *observer);

#endif
