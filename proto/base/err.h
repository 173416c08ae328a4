/* An error on its way to a human: a negative errno and one clear sentence. */
#ifndef QVM_PROTO_BASE_ERR_H
#define QVM_PROTO_BASE_ERR_H

#include <stdarg.h>

#define ERR_MSG_SIZE 1024 /* longer sentences are cut, never overflow */

struct err {
    int code;               /* 0, or a negative errno of proto/errors.def */
    char msg[ERR_MSG_SIZE]; /* what, where (FILE:LINE: when a file caused it), what to do */
};

/* Set `err` (may be NULL) and return `code`, so that failing is one statement. */
int err_set(struct err *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with an argument list. */
int err_vset(struct err *err, int code, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

/* Put "TEXT" before the sentence that is there; returns err->code (0 if `err` is NULL). */
int err_prefix(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Like err_set(), and append ": STRERROR(-code)" to the sentence. */
int err_sys(struct err *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
