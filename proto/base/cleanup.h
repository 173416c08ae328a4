/* Free at declaration: `auto_free`, `auto_close`, and a macro to make more of them. */
#ifndef QVM_PROTO_BASE_CLEANUP_H
#define QVM_PROTO_BASE_CLEANUP_H

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

#define UNUSED __attribute__((unused))

static inline void cleanup_free(void *slot)
{
    void **p = slot;

    free(*p);
    *p = NULL;
}

/* Close `*fd` unless it is empty (-1), and leave it empty; errno survives. */
static inline void cleanup_close(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;

        (void)close(*fd); /* nothing of ours depends on the result of a close */
        errno = saved;
        *fd = -1;
    }
}

#define auto_free  __attribute__((cleanup(cleanup_free)))
#define auto_close __attribute__((cleanup(cleanup_close)))

/* Hand an owned pointer over: the variable is empty afterwards. */
#define take_ptr(p)                                                                                \
    ({                                                                                             \
        __auto_type take_ptr_value = (p);                                                          \
        (p) = NULL;                                                                                \
        take_ptr_value;                                                                            \
    })

/* Hand an owned descriptor over: the variable is -1 afterwards. */
static inline int take_fd(int *fd)
{
    int value = *fd;

    *fd = -1;
    return value;
}

#endif
