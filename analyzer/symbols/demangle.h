/*
 * Linker names as people wrote them: C++ (Itanium) and both Rust manglings, parameters kept, return
 * types and the marks of compiler clones (.constprop.0, .cold, ...) dropped. Other names pass through.
 */
#ifndef PQLEASE_ANALYZER_SYMBOLS_DEMANGLE_H
#define PQLEASE_ANALYZER_SYMBOLS_DEMANGLE_H

#include <stddef.h>

#define DEMANGLE_MAX_BYTES 4096u /* with the terminating zero; longer names are cut */

/* A string to free(), or NULL when out of memory. Any bytes are accepted. */
char *demangle(const char *linkage_name);

#endif
