#include "analyzer/symbols/symbol_source.h"

#include <stdlib.h>

#include "analyzer/symbols/project_root.h"

struct symbol_source {
	struct symbol_store *store;
	struct symbolizer *symbolizer;
};

struct symbol_source *symbol_source_open(const char *ledger_path, uint64_t mapped_bytes,
					 enum symbol_store_status *loaded) {
	struct symbol_source *source = calloc(1, sizeof *source);
	enum symbol_store_status status = SYMBOL_STORE_ABSENT;

	if (source == NULL)
		return NULL;
	source->store = symbol_store_new();
	source->symbolizer = symbolizer_new();
	if (source->store == NULL || source->symbolizer == NULL) {
		symbol_source_close(source);
		return NULL;
	}
	if (ledger_path != NULL)
		status = symbol_store_load(source->store, ledger_path, mapped_bytes);
	if (loaded != NULL)
		*loaded = status;
	return source;
}

void symbol_source_close(struct symbol_source *source) {
	if (source == NULL)
		return;
	symbol_store_free(source->store);
	symbolizer_free(source->symbolizer);
	free(source);
}

size_t symbol_source_resolve(struct symbol_source *source, const struct symbol_module *module,
			     uint64_t address, enum symbol_address_kind kind, struct symbol_frame *out,
			     size_t max) {
	size_t count = symbol_store_lookup(source->store, module, address, kind, out, max);
	struct symbol_frame frames[SYMBOL_FRAMES_MAX];

	if (count > 0)
		return count;
	count = symbolizer_resolve(source->symbolizer, module, address, kind, frames, SYMBOL_FRAMES_MAX);
	if (count == 0 || !symbol_store_put(source->store, module, address, kind, frames, count))
		return 0;
	/* Out of the store, so that names look the same in this report and in the next. */
	return symbol_store_lookup(source->store, module, address, kind, out, max);
}

const char *symbol_source_script(struct symbol_source *source, const char *file) {
	const char *kept = symbol_store_lookup_script(source->store, file);
	char buffer[PATH_MAX];

	if (kept != NULL)
		return kept;
	const char *found = project_root_relative(buffer, file);
	if (found == NULL || !symbol_store_put_script(source->store, file, found))
		return NULL;
	return symbol_store_lookup_script(source->store, file);
}

enum symbol_store_status symbol_source_save(struct symbol_source *source, const char *ledger_path,
					    uint64_t mapped_bytes) {
	if (!symbol_store_is_changed(source->store))
		return SYMBOL_STORE_OK;
	return symbol_store_save(source->store, ledger_path, mapped_bytes);
}
