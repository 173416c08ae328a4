/* The closed lists of words that all parts share. */
#include "proto/words.h"

#include <errno.h>
#include <string.h>

#include "proto/base/cleanup.h"

#define TABLE(list)                                                                                \
    {                                                                                              \
#list, list##_names, (int)ARRAY_LEN(list##_names)                                          \
    }

#define STATE(id, has_process, doc) #id,
static const char *const state_names[] = {
#include "proto/states.def"
};
#undef STATE

#define EVENT(id, doc) #id,
static const char *const event_names[] = {
#include "proto/states.def"
};
#undef EVENT

#define WHAT(id, text, doc) text,
static const char *const what_names[] = {
#include "proto/states.def"
};
#undef WHAT

#define RESTART(id, text, doc) text,
static const char *const restart_names[] = {
#include "proto/states.def"
};
#undef RESTART

#define ON_REBOOT(id, text, doc) text,
static const char *const on_reboot_names[] = {
#include "proto/states.def"
};
#undef ON_REBOOT

#define REASON(id, text, is_failure, restarted_by, doc) text,
static const char *const reason_names[] = {
    NULL,
#include "proto/states.def"
};
#undef REASON

#define KIND(id, has_descriptor, doc) #id,
static const char *const resource_kind_names[] = {
#include "proto/resource.def"
};
#undef KIND

const struct word_table words_state = TABLE(state);
const struct word_table words_event = TABLE(event);
const struct word_table words_what = TABLE(what);
const struct word_table words_restart = TABLE(restart);
const struct word_table words_on_reboot = TABLE(on_reboot);
const struct word_table words_reason = TABLE(reason);
const struct word_table words_resource_kind = TABLE(resource_kind);

const struct word_table *words_table(enum word_list list)
{
    static const struct word_table *const tables[] = {
        [WORDS_state] = &words_state,
        [WORDS_restart] = &words_restart,
        [WORDS_on_reboot] = &words_on_reboot,
        [WORDS_reason] = &words_reason,
        [WORDS_resource_kind] = &words_resource_kind,
    };

    return tables[list];
}

#define STATE(id, has_process, doc) has_process,
static const bool has_process[] = {
#include "proto/states.def"
};
#undef STATE

#define REASON(id, text, is_failure, restarted_by, doc) is_failure,
static const bool is_failure[] = {
    false,
#include "proto/states.def"
};
#undef REASON

#define REASON(id, text, is_failure, restarted_by, doc) RESTART_##restarted_by,
static const enum guest_restart restarted_by[] = {
    RESTART_never,
#include "proto/states.def"
};
#undef REASON

#define KIND(id, has_descriptor, doc) has_descriptor,
static const bool has_descriptor[] = {
#include "proto/resource.def"
};
#undef KIND

#define MOVE(from, event, to) {STATE_##from, EVENT_##event, STATE_##to},
static const struct {
    enum guest_state from;
    enum guest_event event;
    enum guest_state to;
} moves[] = {
#include "proto/states.def"
};
#undef MOVE

#define ERROR(id, code, name, rpc, status, doc) {-(code), name, rpc, status, doc},
const struct error_word error_words[] = {
#include "proto/errors.def"
};
#undef ERROR
const size_t error_word_count = ARRAY_LEN(error_words);

const char *words_name(const struct word_table *table, int word)
{
    return word >= 0 && word < table->count ? table->names[word] : NULL;
}

int words_find(const struct word_table *table, const char *name)
{
    for (int i = 0; i < table->count; i++) {
        if (table->names[i] != NULL && strcmp(table->names[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

bool state_has_process(enum guest_state state)
{
    return has_process[state];
}

int state_move(enum guest_state state, enum guest_event event)
{
    for (size_t i = 0; i < ARRAY_LEN(moves); i++) {
        if (moves[i].from == state && moves[i].event == event) {
            return (int)moves[i].to;
        }
    }
    return -EALREADY;
}

bool reason_is_failure(enum guest_reason reason)
{
    return is_failure[reason];
}

bool reason_is_restarted(enum guest_reason reason, enum guest_restart policy)
{
    return policy != RESTART_no && policy >= restarted_by[reason];
}

bool resource_has_descriptor(enum resource_kind kind)
{
    return has_descriptor[kind];
}

const struct error_word *error_by_code(int code)
{
    for (size_t i = 0; i < error_word_count; i++) {
        if (error_words[i].code == code) {
            return &error_words[i];
        }
    }
    return &error_words[0];
}

const struct error_word *error_by_name(const char *name)
{
    for (size_t i = 0; i < error_word_count; i++) {
        if (strcmp(error_words[i].name, name) == 0) {
            return &error_words[i];
        }
    }
    return NULL;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool guest_name_is_valid(const char *name)
{
    size_t size = strlen(name);

    if (size > GUEST_NAME_MAX || !is_letter(name[0])) {
        return false;
    }
    for (size_t i = 1; i < size; i++) {
        if (!is_letter(name[i]) && !(name[i] >= '0' && name[i] <= '9') &&
            strchr(".-_", name[i]) == NULL) {
            return false;
        }
    }
    return true;
}
