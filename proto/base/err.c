/* An error on its way to a human. */
#include "proto/base/err.h"

#include <stdio.h>
#include <string.h>

int err_vset(struct err *err, int code, const char *format, va_list args)
{
    if (err != NULL) {
        err->code = code;
        (void)vsnprintf(err->msg, sizeof(err->msg), format, args); /* cut when too long */
    }
    return code;
}

int err_set(struct err *err, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)err_vset(err, code, format, args);
    va_end(args);
    return code;
}

int err_sys(struct err *err, int code, const char *format, ...)
{
    if (err != NULL) {
        va_list args;
        size_t used;

        va_start(args, format);
        (void)err_vset(err, code, format, args);
        va_end(args);
        used = strlen(err->msg);
        (void)snprintf(err->msg + used, sizeof(err->msg) - used, ": %s",
                       strerrordesc_np(code < 0 ? -code : code));
    }
    return code;
}

int err_prefix(struct err *err, const char *format, ...)
{
    char tail[ERR_MSG_SIZE];
    va_list args;
    size_t used;

    if (err == NULL) {
        return 0;
    }
    (void)snprintf(tail, sizeof(tail), "%s", err->msg);
    va_start(args, format);
    (void)err_vset(err, err->code, format, args);
    va_end(args);
    used = strlen(err->msg);
    (void)snprintf(err->msg + used, sizeof(err->msg) - used, "%s", tail);
    return err->code;
}
