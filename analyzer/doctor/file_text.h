/*
 * The text of a program that an interpreter would read.
 */
#ifndef PQLEASE_ANALYZER_DOCTOR_FILE_TEXT_H
#define PQLEASE_ANALYZER_DOCTOR_FILE_TEXT_H

#include "analyzer/arena.h"

/* The first quarter of a mebibyte of a regular file, ended by a zero; "" if it cannot be read. */
const char *file_text_read(struct arena *arena, const char *path);

#endif
