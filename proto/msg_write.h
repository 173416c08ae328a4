/* Inside proto alone: JSON text, written from structs piece by piece. */
#ifndef QVM_PROTO_MSG_WRITE_H
#define QVM_PROTO_MSG_WRITE_H

#include "proto/msg.h"

/* How the texts of a struct become JSON. */
enum msg_texts {
    MSG_EXACT, /* what is not UTF-8 fails: it would be another definition, another path */
    MSG_TOLD,  /* `?` for each byte that is not: a strange text must not cost the rest of an answer
                */
};

/* Zeroed at first; nothing more is written once it is broken. */
struct msg_writer {
    char *data; /* without NUL */
    size_t used, room;
    enum msg_texts texts;
    bool is_broken; /* memory is out, a text is not UTF-8, or a MUST is NULL */
};

/* Something that is JSON already, or a part of it. */
void msg_write_raw(struct msg_writer *out, const char *piece);

void msg_write_number(struct msg_writer *out, int64_t number);
void msg_write_string(struct msg_writer *out, const char *string);
void msg_write_struct(struct msg_writer *out, enum msg_struct type, const void *body);

/* All of it, to be freed, and nothing is left in `out`. NULL: it was broken. */
char *msg_writer_take(struct msg_writer *out);

#endif
