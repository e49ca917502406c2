/*
 * From a ledger's path to a settled model, which is what every command begins with.
 */
#ifndef PQLEASE_ANALYZER_LEDGER_LEDGER_LOAD_H
#define PQLEASE_ANALYZER_LEDGER_LEDGER_LOAD_H

#include "analyzer/model.h"

/* Reads a ledger and settles it as it is seen from here and now. NULL if that was done; else a sentence that says why not,
 * static or of strerror, and there is nothing to release. */
const char *ledger_load(struct model *model, const char *path);

#endif
