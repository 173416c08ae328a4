/* Inside proto alone: structs to and from the JSON library's values. */
#ifndef QVM_PROTO_MSG_CODEC_H
#define QVM_PROTO_MSG_CODEC_H

#include <jansson.h>

#include "proto/msg.h"

struct err;

#define auto_json __attribute__((cleanup(msg_json_cleanup)))
void msg_json_cleanup(json_t **value);

/* Parse one text within the limits of depth; -EBADMSG. The caller owns the value. */
int msg_json_load(const char *text, size_t size, json_t **value, struct err *err);

/* A text as JSON; `?` for each byte that is not UTF-8. NULL: no memory. */
json_t *msg_json_tell(const char *text);

/* How the texts of a struct become JSON. */
enum msg_texts {
    MSG_EXACT, /* what is not UTF-8 fails: it would be another definition, another path */
    MSG_TOLD,  /* by msg_json_tell(): a strange text must not cost the rest of an answer */
};

/* The caller owns the value; NULL as for msg_encode(). */
json_t *msg_json_make(enum msg_struct type, const void *body, enum msg_texts texts);

/* Fill `body` (zeroed by the callee); on failure it is freed and zero again. `path` names the
 * object for the sentence ("" for the outermost). */
int msg_json_read(enum msg_struct type, json_t *object, bool is_request, const char *path,
                  void *body, struct err *err);

/* Compact text with `end` behind it ("\n" or ""), to be freed. */
char *msg_json_text(const json_t *value, const char *end);

#endif
