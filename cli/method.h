/* Which structs belong to which method of proto/messages.def: the compiler sees that they do.
 *
 * method_params_METHOD_x() takes the params of METHOD_x, and returns them; with those of another
 * method it does not compile. method_body_METHOD_x() is for params that are filled in later,
 * method_result_METHOD_x() for the result. */
#ifndef QVM_CLI_METHOD_H
#define QVM_CLI_METHOD_H

#include "proto/msg.h"

#define METHOD(id, name, role, params, result, doc)                                                \
    static inline const void *method_params_METHOD_##id(const struct msg_##params *body)           \
    {                                                                                              \
        return body;                                                                               \
    }                                                                                              \
    static inline void *method_body_METHOD_##id(struct msg_##params *body)                         \
    {                                                                                              \
        return body;                                                                               \
    }                                                                                              \
    static inline void *method_result_METHOD_##id(struct msg_##result *body)                       \
    {                                                                                              \
        return body;                                                                               \
    }
#include "proto/messages.def"
#undef METHOD

#endif
