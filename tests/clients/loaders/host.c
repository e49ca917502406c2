/*
 * A program that does what its arguments say, in their order:
 *
 *     open:NAME:PATH:FLAGS   load a library made of caller.c (flags: local global deepbind now lazy)
 *     find:NAME:PATH:FLAGS   load a libpq and look its functions up by dlsym; PATH may be DEFAULT or NEXT
 *     take:NAME use:NAME give:NAME   connect, show, finish
 *     run:NAME               the three
 *     close:NAME             unload
 *     same:NAME:NAME         say whether two libraries have had the same address
 *
 * Linked with caller.c it has a caller of its own, NAME main.
 */
#include <dlfcn.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUESTS_MAX 16

struct guest {
	char name[32];
	void *handle;
	void (*take)(void);
	void (*use)(const char *label);
	void (*give)(void);
	/* of one that looks libpq's functions up */
	PGconn *(*connectdb)(const char *conninfo);
	void (*finish)(PGconn *conn);
	ConnStatusType (*status)(const PGconn *conn);
	int (*version)(void);
	PGconn *conn;
};

#pragma weak caller_take
#pragma weak caller_use
#pragma weak caller_give
void caller_take(void);
void caller_use(const char *label);
void caller_give(void);

static struct guest guests[GUESTS_MAX] = {{.name = "main"}};

static void fail(const char *what, const char *why) {
	printf("host: %s: %s\n", what, why);
	exit(9);
}

static struct guest *guest_named(const char *name) {
	for (int i = 0; i < GUESTS_MAX; i++) {
		if (!guests[i].name[0])
			snprintf(guests[i].name, sizeof guests[i].name, "%s", name);
		if (strcmp(guests[i].name, name) == 0)
			return &guests[i];
	}
	fail(name, "too many names");
	return NULL;
}

static int flags_of(const char *text) {
	int flags = strstr(text, "lazy") ? RTLD_LAZY : RTLD_NOW;
	flags |= strstr(text, "global") ? RTLD_GLOBAL : RTLD_LOCAL;
	return flags | (strstr(text, "deepbind") ? RTLD_DEEPBIND : 0);
}

static void *open_handle(const char *path, const char *flags) {
	if (strcmp(path, "DEFAULT") == 0)
		return RTLD_DEFAULT;
	if (strcmp(path, "NEXT") == 0)
		return RTLD_NEXT;
	void *handle = dlopen(path, flags_of(flags));
	if (!handle)
		fail(path, dlerror());
	return handle;
}

static void *find(void *handle, const char *name) {
	void *symbol = dlsym(handle, name);
	if (!symbol)
		fail(name, dlerror());
	return symbol;
}

static void open_caller(struct guest *guest, const char *path, const char *flags) {
	guest->handle = open_handle(path, flags);
	guest->take = (void (*)(void))find(guest->handle, "caller_take");
	guest->use = (void (*)(const char *))find(guest->handle, "caller_use");
	guest->give = (void (*)(void))find(guest->handle, "caller_give");
}

static void find_libpq(struct guest *guest, const char *path, const char *flags) {
	guest->handle = open_handle(path, flags);
	guest->connectdb = (__typeof__(guest->connectdb))find(guest->handle, "PQconnectdb");
	guest->finish = (__typeof__(guest->finish))find(guest->handle, "PQfinish");
	guest->status = (__typeof__(guest->status))find(guest->handle, "PQstatus");
	guest->version = (__typeof__(guest->version))find(guest->handle, "PQlibVersion");
}

static void take(struct guest *guest) {
	if (guest->connectdb)
		guest->conn = guest->connectdb("");
	else
		guest->take();
}

static void use(struct guest *guest) {
	if (guest->connectdb)
		printf("%s: %s libpq, status %d\n", guest->name, guest->version() == 990000 ? "other" : "system",
		       (int)guest->status(guest->conn));
	else
		guest->use(guest->name);
}

static void give(struct guest *guest) {
	if (guest->connectdb)
		guest->finish(guest->conn);
	else
		guest->give();
}

static void obey(char *word) {
	char *verb = strtok(word, ":"), *name = strtok(NULL, ":");
	char *path = strtok(NULL, ":"), *flags = strtok(NULL, ":");
	struct guest *guest = guest_named(name);
	if (strcmp(verb, "open") == 0)
		open_caller(guest, path, flags);
	else if (strcmp(verb, "find") == 0)
		find_libpq(guest, path, flags ? flags : "");
	else if (strcmp(verb, "close") == 0)
		dlclose(guest->handle);
	else if (strcmp(verb, "same") == 0)
		printf("%s address\n", guest->take == guest_named(path)->take ? "same" : "another");
	if (strcmp(verb, "take") == 0 || strcmp(verb, "run") == 0)
		take(guest);
	if (strcmp(verb, "use") == 0 || strcmp(verb, "run") == 0)
		use(guest);
	if (strcmp(verb, "give") == 0 || strcmp(verb, "run") == 0)
		give(guest);
}

int main(int argc, char **argv) {
	setvbuf(stdout, NULL, _IOLBF, 0);
	guests[0].take = caller_take;
	guests[0].use = caller_use;
	guests[0].give = caller_give;
	for (int i = 1; i < argc; i++)
		obey(argv[i]);
	return 0;
}
