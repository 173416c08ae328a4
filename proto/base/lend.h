/* Lending what is const to structs whose members are not, because they own what was decoded into
 * them (proto/msg.h), or because C says so (struct iovec, argv). Nobody writes through it. */
#ifndef QVM_PROTO_BASE_LEND_H
#define QVM_PROTO_BASE_LEND_H

static inline void *lend(const void *pointer)
{
    union {
        const void *given;
        void *lent;
    } both = {.given = pointer};

    return both.lent;
}

#endif
