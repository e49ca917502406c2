/*
 * The functions of commands.def: each `int cmd_NAME(int argc, char **argv)`, see options.h.
 */
#ifndef PQLEASE_ANALYZER_COMMANDS_COMMANDS_H
#define PQLEASE_ANALYZER_COMMANDS_COMMANDS_H

#define COMMAND(name, function, help) int function(int argc, char **argv);
#include "analyzer/commands/commands.def"
#undef COMMAND

#endif
