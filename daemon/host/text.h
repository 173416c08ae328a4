/* Read small files of /proc and /sys. */
#ifndef QVM_DAEMON_HOST_TEXT_H
#define QVM_DAEMON_HOST_TEXT_H

#include <stddef.h>

struct err;

/* Read the file at `path` into `text` with a NUL behind it; what does not fit is cut. */
int text_read(const char *path, char *text, size_t size, struct err *err);

#endif
