#include "shim/script.h"

static enum ledger_script_reading open_python(const struct link_map *object,
					      char version[SCRIPT_VERSION_BYTES]) {
	(void)object;
	version[0] = '\0';
	return LEDGER_SCRIPT_UNKNOWN_VERSION;
}

const struct script_runtime script_python = {
	.name = "python",
	.language = LEDGER_FRAME_PYTHON,
	.mark = "PyGILState_GetThisThreadState",
	.open = open_python,
};
