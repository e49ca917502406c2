#include "analyzer/ledger/ledger_load.h"

#include <errno.h>
#include <string.h>

#include "analyzer/ledger/aftermath.h"
#include "analyzer/ledger/ledger_reader.h"

const char *ledger_load(struct model *model, const char *path) {
	enum ledger_reader_status status = ledger_reader_read(model, path);
	if (status == LEDGER_READER_SYSTEM_ERROR && errno != 0)
		return strerror(errno);
	if (status != LEDGER_READER_OK)
		return ledger_reader_status_text(status);
	struct liveness_observer observer = liveness_observer_here();
	aftermath_settle(model, &observer);
	return NULL;
}
