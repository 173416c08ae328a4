/* Several guests, each of which is done something to when its turn comes: starts in the order of
 * `after`, stops in the reverse. What the turns are is said by a kind. Inside guest.h's files. */
#ifndef QVM_DAEMON_GUEST_MANY_H
#define QVM_DAEMON_GUEST_MANY_H

#include "daemon/guest/inside.h"

enum many_state { MANY_WAITS, MANY_UNDERWAY, MANY_DONE };

struct many_entry {
    struct many *many;
    enum many_state state;
    uint64_t due;      /* loop time; 0: not known yet */
    bool is_blocked;   /* of the kind's own use during a look */
    bool is_inherited; /* the same, for good */
    struct guest_result result;
};

struct many_index {
    struct guest *guest;
};

struct many_kind {
    /* Begin what may begin now, each with many_begin() or many_end(); returns the loop time of the
     * next turn that only waits for time, or 0. */
    uint64_t (*look)(struct many *many);
    /* Whether an entry that ended so is over; false: it was begun anew. May be NULL. */
    bool (*is_over)(struct many_entry *entry, const struct err *err);
    /* The time is over. */
    void (*on_limit)(struct many *many);
    /* All are done, those who listened were told; it is freed next. May be NULL. */
    void (*on_end)(struct many *many);
};

struct many_listener {
    guests_done_fn done;
    void *data;
};

struct many {
    LIST_ENTRY(many) link;
    struct guests *all;
    struct guest_caller caller;
    const struct many_kind *kind;
    struct many_entry *entries; /* by name */
    size_t count, underway;
    struct many_index *index; /* during a look: all guests by name */
    size_t index_count;
    struct many_listener *listeners;
    size_t listener_count;
    uint64_t last_start; /* loop time of the last start */
    bool is_late, is_looking, is_changed, is_closing;
    int open_timers;
    uv_timer_t timer, limit;
};

/* For as many guests as are added at most, in the order of their names. NULL: no memory. */
struct many *many_create(struct guests *guests, const struct guest_caller *caller,
                         const struct many_kind *kind, size_t most);
struct many_entry *many_add(struct many *many, const char *name);

/* The entry of that name, or NULL. */
struct many_entry *many_find(struct many *many, const char *name);

/* The guest of that name, or NULL: quickly, during a look. */
struct guest *many_guest(const struct many *many, const char *name);

/* Tell somebody at the end; told at once when there is no memory for that. */
void many_listen(struct many *many, guests_done_fn done, void *data);

/* The first look. `limit_ms` 0: none. It may be over, and `many` freed, when this returns. */
void many_go(struct many *many, int64_t limit_ms);
void many_set_limit(struct many *many, int64_t limit_ms);

/* Look again as soon as possible. */
void many_look(struct many *many);

/* The entry's turn has begun; many_on_done() with the entry as data is called once for it. */
void many_begin(struct many_entry *entry);
void many_on_done(void *data, const struct guest *guest, const char *note, const struct err *err);

/* The entry is over without a turn. */
void many_end(struct many_entry *entry, const char *note, const struct err *err);

/* Answer those who listen with what is known; who is not done yet is told as `unfinished`. */
void many_answer(struct many *many, const struct err *unfinished);

/* qvmd ends: answer, look no more, free when its turns are over. */
void many_abandon_all(struct guests *guests);

#endif
