/*
 * From a ledger file to the model. The file is untrusted input: it is copied into private memory, and
 * every offset, count, id and string is checked before use, so that whatever the file holds, the result
 * is a status or a model whose numbers may be wrong but whose references are right.
 *
 * A ledger may be read while it is written: slots and process records are taken consistently (unchanged
 * while they were copied), totals are a moment apart from each other.
 *
 * This module and ledger_keeper are the only ones that know shim/ledger_format.h.
 */
#ifndef PQLEASE_ANALYZER_LEDGER_LEDGER_READER_H
#define PQLEASE_ANALYZER_LEDGER_LEDGER_READER_H

#include <stdbool.h>
#include <stddef.h>

#include "analyzer/model.h"

enum ledger_reader_status {
	LEDGER_READER_OK,
	LEDGER_READER_ABSENT,
	LEDGER_READER_DENIED,
	LEDGER_READER_NOT_REGULAR, /* also a symbolic link */
	LEDGER_READER_FOREIGN,     /* neither of this user nor of root, and we are not root */
	LEDGER_READER_TOO_SHORT,
	LEDGER_READER_NOT_A_LEDGER,
	LEDGER_READER_OTHER_BYTE_ORDER,
	LEDGER_READER_OTHER_VERSION,
	LEDGER_READER_BAD_HEADER,
	LEDGER_READER_TRUNCATED,
	LEDGER_READER_BAD_SECTION_KIND,
	LEDGER_READER_BAD_ENTRY_SIZE,
	LEDGER_READER_MISALIGNED_SECTION,
	LEDGER_READER_SECTION_IN_HEADER,
	LEDGER_READER_SECTION_OUT_OF_RANGE,
	LEDGER_READER_SECTIONS_OVERLAP,
	LEDGER_READER_SYSTEM_ERROR, /* errno says which */
	LEDGER_READER_STATUS_COUNT
};

/* Whether a file begins as a ledger, of any version or byte order. */
bool ledger_reader_is_beginning(int descriptor);

/* A sentence for people, static, without a full stop. */
const char *ledger_reader_status_text(enum ledger_reader_status status);

/* Fills `model`, which is released with model_release() if the status is OK and untouched otherwise.
 * Nothing is settled yet: aftermath.h decides who is gone. */
enum ledger_reader_status ledger_reader_read(struct model *model, const char *path);
/* The same of an open descriptor, whose owner was checked by the caller. */
enum ledger_reader_status ledger_reader_read_from(struct model *model, int descriptor);

#endif
