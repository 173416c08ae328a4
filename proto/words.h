/* The closed lists of words that all parts share: states, events, reasons, resource kinds, errors.
 *
 * Each is written once, in states.def, resource.def and errors.def; here they become enums and
 * names. Any thread; nothing is allocated. */
#ifndef QVM_PROTO_WORDS_H
#define QVM_PROTO_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#define STATE(id, has_process, doc) STATE_##id,
enum guest_state {
#include "proto/states.def"
    STATE_COUNT
};
#undef STATE

#define EVENT(id, doc) EVENT_##id,
enum guest_event {
#include "proto/states.def"
    EVENT_COUNT
};
#undef EVENT

#define RESTART(id, text, doc) RESTART_##id,
enum guest_restart {
#include "proto/states.def"
    RESTART_never, /* no policy: also their count */
};
#undef RESTART

#define ON_REBOOT(id, text, doc) ON_REBOOT_##id,
enum guest_on_reboot {
#include "proto/states.def"
    ON_REBOOT_COUNT
};
#undef ON_REBOOT

#define REASON(id, text, is_failure, restarted_by, doc) REASON_##id,
enum guest_reason {
    REASON_none, /* has no name: no reason yet */
#include "proto/states.def"
    REASON_COUNT
};
#undef REASON

#define WHAT(id, text, doc) WHAT_##id,
enum event_what {
#include "proto/states.def"
    WHAT_COUNT
};
#undef WHAT

#define KIND(id, has_descriptor, doc) RESOURCE_##id,
enum resource_kind {
#include "proto/resource.def"
    RESOURCE_COUNT
};
#undef KIND

/* A closed list: names[0..count); a NULL name cannot be written or read. */
struct word_table {
    const char *name; /* of the list itself, for messages */
    const char *const *names;
    int count;
};

extern const struct word_table words_state;
extern const struct word_table words_event;
extern const struct word_table words_restart;
extern const struct word_table words_on_reboot;
extern const struct word_table words_reason;
extern const struct word_table words_what; /* kinds of events of the API */
extern const struct word_table words_resource_kind;

/* The lists that members of messages have, by number: a table that holds no pointer needs no
 * relocation, and its pages are the file's in every process. */
enum word_list { WORDS_state, WORDS_restart, WORDS_on_reboot, WORDS_reason, WORDS_resource_kind };

const struct word_table *words_table(enum word_list list);

/* The name of `word`, or NULL when it has none. */
const char *words_name(const struct word_table *table, int word);

/* The word called `name`, or -1. */
int words_find(const struct word_table *table, const char *name);

/* Whether a guest in this state has a process (and so holds what it was granted). */
bool state_has_process(enum guest_state state);

/* One move of the life: the next state, or -EALREADY when this event is not for this state. */
int state_move(enum guest_state state, enum guest_event event);

/* Whether this end was one that nobody wanted. */
bool reason_is_failure(enum guest_reason reason);

/* Whether a guest of this policy is started again after this end. */
bool reason_is_restarted(enum guest_reason reason, enum guest_restart policy);

/* Whether a grant of this kind comes with a descriptor. */
bool resource_has_descriptor(enum resource_kind kind);

/* One row of errors.def. */
struct error_word {
    int code;         /* negative errno */
    const char *name; /* stable */
    int rpc_code;     /* JSON-RPC 2.0, section 5.1 */
    int exit_status;  /* of qvmctl(1) */
    const char *doc;
};

extern const struct error_word error_words[];
extern const size_t error_word_count;

/* The row for a negative errno; -ENOMEM, -EFBIG and others that have none become "internal". */
const struct error_word *error_by_code(int code);

/* The row with this stable name, or NULL. */
const struct error_word *error_by_name(const char *name);

#define GUEST_NAME_MAX 63

/* A letter, then letters, digits, `.`, `-`, `_`; at most GUEST_NAME_MAX. */
bool guest_name_is_valid(const char *name);

#endif
