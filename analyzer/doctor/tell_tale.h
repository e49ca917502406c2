/*
 * What the bytes of a program's file say about how it reaches PostgreSQL, when its libraries say nothing: libpq linked
 * statically (stripped or not), libpq opened at run time, or a driver that speaks the protocol itself (the build
 * information of Go and the source paths of Rust name it).
 */
#ifndef PQLEASE_ANALYZER_DOCTOR_TELL_TALE_H
#define PQLEASE_ANALYZER_DOCTOR_TELL_TALE_H

enum tell_tale_kind { TELL_TALE_NONE, TELL_TALE_STATIC_LIBPQ, TELL_TALE_OPENS_LIBPQ, TELL_TALE_OWN_PROTOCOL };

struct tell_tale {
	enum tell_tale_kind kind;
	const char *driver; /* of TELL_TALE_OWN_PROTOCOL */
};

/* Reads the whole file, up to a gigabyte. TELL_TALE_NONE if it cannot be read. */
struct tell_tale tell_tale_find(const char *path);

#endif
