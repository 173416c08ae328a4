/* Settings of a guest from text. The names, kinds and limits are those of STRUCT(settings) in
 * messages.def: there is no other list. Any thread. */
#ifndef QVM_PROTO_SETTINGS_H
#define QVM_PROTO_SETTINGS_H

#include "proto/msg.h"

struct err;

#define SETTINGS_GIVE_UP 10 /* tries in a row, unless it is set */

/* Those of a new guest. */
void settings_init(struct msg_settings *settings);

/* Set one by its name; `-` may stand for `_`, and a span of time needs no `_ms`: `delay` is
 * NUMBER[ms|s|m|h|d], `delay_ms` milliseconds. Booleans are on off yes no true false; a list is
 * split at commas, and empty when the text is.
 * -EINVAL: no such name, or not such a value; `err` says what there is, `settings` is unchanged. */
int settings_set(struct msg_settings *settings, const char *name, const char *value,
                 struct err *err);

/* A copy that owns its texts; msg_fini(MSG_settings). -ENOMEM. */
int settings_copy(const struct msg_settings *from, struct msg_settings *to);

#endif
