/*
 * An LD_AUDIT observer for tests: lists every binding of a PQ* name that the dynamic linker makes, and with which
 * flags objects are opened, in the file named by PQ_AUDIT_OUTPUT. It changes nothing that the program sees.
 *
 *     bind <tab> object that refers <tab> object that defines <tab> name <tab> plt|dlsym
 *     open <tab> path <tab> flags in hex
 *
 * One write with O_APPEND a line, no descriptor kept: processes and threads share the file.
 */
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 1024

static char output[LINE_BYTES];

__attribute__((visibility("hidden"))) void *audit_real_dlopen;
__attribute__((visibility("hidden"))) void audit_note_dlopen(const char *path, int flags);
void audit_dlopen(void);

static void write_line(const char *line, int length_bytes) {
	int fd = open(output, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0)
		return;
	if (length_bytes > 0 && length_bytes < LINE_BYTES && write(fd, line, (size_t)length_bytes) < 0)
		_exit(99); /* a list with holes would prove nothing */
	close(fd);
}

void audit_note_dlopen(const char *path, int flags) {
	char line[LINE_BYTES];
	if (path)
		write_line(line, snprintf(line, sizeof line, "open\t%s\t%x\n", path, (unsigned)flags));
}

/* Notes the call and goes on to the real one with the program's own return address. */
__asm__(".text\n"
	".type audit_dlopen, @function\n"
	"audit_dlopen:\n"
	"	pushq %rdi\n"
	"	pushq %rsi\n"
	"	subq $8, %rsp\n"
	"	call audit_note_dlopen\n"
	"	addq $8, %rsp\n"
	"	popq %rsi\n"
	"	popq %rdi\n"
	"	jmp *audit_real_dlopen(%rip)\n"
	".size audit_dlopen, . - audit_dlopen\n");

unsigned int la_version(unsigned int version) {
	const char *path = getenv("PQ_AUDIT_OUTPUT");
	if (!path || strlen(path) >= sizeof output)
		return 0;
	strcpy(output, path);
	return version < LAV_CURRENT ? version : LAV_CURRENT;
}

unsigned int la_objopen(struct link_map *object, Lmid_t namespace, uintptr_t *cookie) {
	(void)namespace;
	*cookie = (uintptr_t)object;
	return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}

static const char *name_of(const uintptr_t *cookie) {
	const struct link_map *object = (const struct link_map *)*cookie;
	return object->l_name[0] ? object->l_name : "main program";
}

uintptr_t la_symbind64(Elf64_Sym *symbol, unsigned int index, uintptr_t *from, uintptr_t *to, unsigned int *flags,
		       const char *name) {
	char line[LINE_BYTES];
	(void)index;
	if (strncmp(name, "PQ", 2) == 0)
		write_line(line, snprintf(line, sizeof line, "bind\t%s\t%s\t%s\t%s\n", name_of(from), name_of(to), name,
					  *flags & LA_SYMB_DLSYM ? "dlsym" : "plt"));
	if (strcmp(name, "dlopen") == 0 && !(*flags & LA_SYMB_DLSYM) && strstr(name_of(to), "/libc.so")) {
		audit_real_dlopen = (void *)symbol->st_value;
		return (uintptr_t)audit_dlopen;
	}
	return symbol->st_value;
}
