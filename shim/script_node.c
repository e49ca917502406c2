/*
 * Node: recognised, so that a report can say why its places have no lines.
 *
 * V8 tells its stack to C++ code that is built against its headers of the very version, and tells nothing to the worker
 * threads in which addons connect.
 */
#include "shim/script.h"

static enum ledger_script_reading open_node(const struct link_map *object,
					    char version[SCRIPT_VERSION_BYTES]) {
	(void)object;
	version[0] = '\0'; /* only scripts and addons are told */
	return LEDGER_SCRIPT_NEVER;
}

const struct script_runtime script_node = {
	.name = "node",
	.language = LEDGER_FRAME_NODE,
	.mark = "_ZN4node5StartEiPPc", /* node::Start(int, char **) */
	.open = open_node,
};
