/*
 * dlsym and dlopen for x86-64: ask the C half, then jump to the real function with the registers and the stack as
 * the program left them. Another architecture is one more file like this.
 */
#if defined(__x86_64__)

#include "shim/loader_hooks.h"

/* Calls a C function with the first two arguments in place, the return address of the program's call as the third, and
 * keeps the two; the stack is 16-byte aligned at the
 * call: return address, two registers, 8 bytes. */
	.macro	keeping_arguments function
	pushq	%rdi
	.cfi_adjust_cfa_offset 8
	pushq	%rsi
	.cfi_adjust_cfa_offset 8
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	movq	24(%rsp), %rdx
	call	\function
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	popq	%rsi
	.cfi_adjust_cfa_offset -8
	popq	%rdi
	.cfi_adjust_cfa_offset -8
	.endm

	.text

	.globl	dlsym
	.type	dlsym, @function
dlsym:
	.cfi_startproc
	endbr64
	keeping_arguments loader_hooks_dlsym
	testq	%rax, %rax
	jz	1f
	ret
1:	keeping_arguments loader_real_dlsym
	jmp	*%rax
	.cfi_endproc
	.size	dlsym, . - dlsym

	.globl	dlopen
	.type	dlopen, @function
dlopen:
	.cfi_startproc
	endbr64
	keeping_arguments loader_hooks_dlopen
	testq	%rax, %rax
	jz	1f
	ret
1:	keeping_arguments loader_hooks_dlopen_flags
	movl	%eax, %esi
	keeping_arguments loader_real_dlopen
	jmp	*%rax
	.cfi_endproc
	.size	dlopen, . - dlopen

/* One thunk per hooked function and libpq instance: says which instance is meant, then enters the wrapper. %r11 is
 * free between functions. */
	.macro	thunks_of name
	.balign	LOADER_THUNK_BYTES
thunks_\name:
	.set	instance, 1
	.rept	INSTANCES_MAX
	.balign	LOADER_THUNK_BYTES
	endbr64
	movq	instance_named_by_thunk@gottpoff(%rip), %r11
	movl	$instance, %fs:(%r11)
	jmp	\name@PLT
	.set	instance, instance + 1
	.endr
	.pushsection .data.rel.ro.local, "aw"
	.quad	thunks_\name
	.popsection
	.endm

	.section .data.rel.ro.local, "aw"
	.balign	8
	.globl	loader_thunks
	.hidden	loader_thunks
	.type	loader_thunks, @object
loader_thunks:
	.text
#define HOOK(name, shape, result, parameters, arguments) thunks_of name;
#include "shim/hooks.def"
	.section .data.rel.ro.local, "aw"
	.size	loader_thunks, . - loader_thunks

#endif

	.section .note.GNU-stack,"",@progbits
