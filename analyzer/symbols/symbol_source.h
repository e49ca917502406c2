/*
 * Where readers of a ledger get symbols and places of scripts from: what is kept with the ledger first, then the files of
 * this machine, and what these gave is remembered so that it can be kept.
 * Belongs to one thread. Strings stay valid until symbol_source_close().
 */
#ifndef PQLEASE_ANALYZER_SYMBOLS_SYMBOL_SOURCE_H
#define PQLEASE_ANALYZER_SYMBOLS_SYMBOL_SOURCE_H

#include "analyzer/symbols/symbol_store.h"
#include "analyzer/symbols/symbolizer.h"

struct symbol_source;

/* loaded, when not NULL, says how reading the kept symbols went; with any status the source works.
 * ledger_path may be NULL: nothing kept. NULL when out of memory. */
struct symbol_source *symbol_source_open(const char *ledger_path, uint64_t mapped_bytes,
					 enum symbol_store_status *loaded);
void symbol_source_close(struct symbol_source *source);

/* As symbolizer_resolve(). */
size_t symbol_source_resolve(struct symbol_source *source, const struct symbol_module *module,
			     uint64_t address, enum symbol_address_kind kind, struct symbol_frame *out,
			     size_t max);

/* Where a script lies in its project: as kept, else as its file shows here (project_root.h). NULL when nobody knows. */
const char *symbol_source_script(struct symbol_source *source, const char *file);

/* Keeps everything resolved with the ledger; writes nothing when there is nothing new. */
enum symbol_store_status symbol_source_save(struct symbol_source *source, const char *ledger_path,
					    uint64_t mapped_bytes);

#endif
