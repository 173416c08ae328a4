/* Inside proto alone: structs from the JSON library's values. */
#ifndef QVM_PROTO_MSG_CODEC_H
#define QVM_PROTO_MSG_CODEC_H

#include <jansson.h>

#include "proto/msg.h"

struct err;

#define auto_json __attribute__((cleanup(msg_json_cleanup)))
void msg_json_cleanup(json_t **value);

/* Parse one text within the limits of depth; -EBADMSG. The caller owns the value. */
int msg_json_load(const char *text, size_t size, json_t **value, struct err *err);

/* Fill `body` (zeroed by the callee); on failure it is freed and zero again. `path` names the
 * object for the sentence ("" for the outermost). */
int msg_json_read(enum msg_struct type, json_t *object, bool is_request, const char *path,
                  void *body, struct err *err);

/* Compact text with `end` behind it ("\n" or ""), to be freed. */
char *msg_json_text(const json_t *value, const char *end);

#endif
