/*
 * uthash with xxHash under it: faster on long keys, and one static analyzers can follow.
 */
#ifndef PQLEASE_ANALYZER_HASH_TABLE_H
#define PQLEASE_ANALYZER_HASH_TABLE_H

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

#define HASH_FUNCTION(key, length, value) ((value) = (unsigned)XXH64((key), (length), 0))
#include <uthash.h>

#endif
