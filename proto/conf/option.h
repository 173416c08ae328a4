/* Options of a configuration as typed rows, and the contexts that they stand in.
 *
 * A grammar is a table of rows. Options that open a context (`cpu`, `vdev`, ...) have a handler
 * that sets the scope; the options after it apply to it. Options that need no context may stand
 * inside one without closing it. Repeated in one context, the last wins. A row whose member has
 * not the type that the row says does not compile. */
#ifndef QVM_PROTO_CONF_OPTION_H
#define QVM_PROTO_CONF_OPTION_H

#include <stddef.h>
#include <stdint.h>

#include "proto/conf/value.h"
#include "proto/conf/words.h"

struct conf_grammar;

/* Where the reading stands. Handlers change `context` and `object` when they open a context. */
struct conf_scope {
    const struct conf_grammar *grammar;
    const struct conf_words *words;
    size_t next;      /* index of the next word */
    unsigned context; /* 0: none open; otherwise one of the caller's bits */
    void *object;     /* of the open context: rows of a context set its members */
    void *root;       /* rows without a context set its members */
    struct err *err;
};

/* -ENOENT: the open context may have such an option, but this object has none. */
typedef int (*conf_handler_fn)(struct conf_scope *scope, const struct conf_word *option);

enum conf_kind {
    CONF_KIND_HANDLER, /* takes its own arguments */
    CONF_KIND_LATER,   /* known to the language, not supported yet */
    CONF_KIND_TEXT,
    CONF_KIND_BOOL,
    CONF_KIND_NUMBER,  /* decimal by default: sizes, lengths, counts */
    CONF_KIND_ADDRESS, /* hexadecimal by default */
    CONF_KIND_CHOICE,  /* one of a list of words */
};

#define CONF_ANYWHERE 0u /* needs no context and closes none */

struct conf_option {
    const char *name;
    enum conf_kind kind;
    unsigned contexts;          /* bit set, or CONF_ANYWHERE */
    size_t offset;              /* of the member; when it has none, unused */
    uint64_t min, max;          /* NUMBER, ADDRESS */
    const char *const *choices; /* CHOICE: NULL-ended; the member gets the index */
    conf_handler_fn handler;
    const char *fallback; /* as it would stand in the configuration; NULL: leave the member alone */
    const char *doc;      /* one line */
};

/* offsetof, if the member's type is `type_` */
#define CONF_MEMBER(struct_, member_, type_)                                                       \
    (offsetof(struct_, member_) +                                                                  \
     0 * sizeof(struct {                                                                           \
         _Static_assert(__builtin_types_compatible_p(__typeof__(((struct_ *)0)->member_), type_),  \
                        "the member has another type than its option");                            \
         int unused;                                                                               \
     }))

#define CONF_HANDLER(name_, contexts_, handler_, doc_)                                             \
    {                                                                                              \
        .name = (name_), .kind = CONF_KIND_HANDLER, .contexts = (contexts_),                       \
        .handler = (handler_), .doc = (doc_)                                                       \
    }
#define CONF_LATER(name_, contexts_, doc_)                                                         \
    {                                                                                              \
        .name = (name_), .kind = CONF_KIND_LATER, .contexts = (contexts_), .doc = (doc_)           \
    }
#define CONF_TEXT(name_, contexts_, struct_, member_, fallback_, doc_)                             \
    {                                                                                              \
        .name = (name_), .kind = CONF_KIND_TEXT, .contexts = (contexts_),                          \
        .offset = CONF_MEMBER(struct_, member_, const char *), .fallback = (fallback_),            \
        .doc = (doc_)                                                                              \
    }
#define CONF_BOOL(name_, contexts_, struct_, member_, fallback_, doc_)                             \
    {                                                                                              \
        .name = (name_), .kind = CONF_KIND_BOOL, .contexts = (contexts_),                          \
        .offset = CONF_MEMBER(struct_, member_, bool), .fallback = (fallback_), .doc = (doc_)      \
    }
#define CONF_NUMBER(name_, contexts_, struct_, member_, min_, max_, fallback_, doc_)               \
    {                                                                                              \
        .name = (name_), .kind = CONF_KIND_NUMBER, .contexts = (contexts_),                        \
        .offset = CONF_MEMBER(struct_, member_, uint64_t), .min = (min_), .max = (max_),           \
        .fallback = (fallback_), .doc = (doc_)                                                     \
    }
#define CONF_ADDRESS(name_, contexts_, struct_, member_, min_, max_, fallback_, doc_)              \
    {                                                                                              \
        .name = (name_), .kind = CONF_KIND_ADDRESS, .contexts = (contexts_),                       \
        .offset = CONF_MEMBER(struct_, member_, uint64_t), .min = (min_), .max = (max_),           \
        .fallback = (fallback_), .doc = (doc_)                                                     \
    }
#define CONF_CHOICE(name_, contexts_, struct_, member_, choices_, fallback_, doc_)                 \
    {                                                                                              \
        .name = (name_), .kind = CONF_KIND_CHOICE, .contexts = (contexts_),                        \
        .offset = CONF_MEMBER(struct_, member_, unsigned), .choices = (choices_),                  \
        .fallback = (fallback_), .doc = (doc_)                                                     \
    }

struct conf_grammar {
    const struct conf_option *options;
    size_t option_count;
    /* "cpu", "vdev", ... by bit number; for sentences */
    const char *const *context_names;
    size_t context_count;
    /* A word that no row of the open context knows, before rows without context are looked at.
     * -ENOENT: not mine. May be NULL. Rows that have it for their handler only say in which
     * context its words stand. */
    conf_handler_fn other;
    /* Offer the names that `other` knows in the open context. May be NULL. */
    void (*offer)(const struct conf_scope *scope, struct conf_nearest *nearest);
};

/* Read all words. `root` and `err` are set in `scope` by the caller, with `grammar` and `words`.
 * -ENOEXEC with FILE:LINE in scope->err. */
int conf_read(struct conf_scope *scope);

/* Set the members of `object` for which a row of `contexts` (CONF_ANYWHERE: rows without context)
 * has a fallback. Fallbacks are ours: one that cannot be read is a bug. */
void conf_set_fallbacks(const struct conf_grammar *grammar, unsigned contexts, void *object);

/* The next word, or NULL at the end. */
const struct conf_word *conf_next(struct conf_scope *scope);

/* The next word, as an argument of `option`: NULL with scope->err set when none is left. */
const struct conf_word *conf_argument(struct conf_scope *scope, const struct conf_word *option);

/* Set the member that `row` describes from `argument`. */
int conf_set(const struct conf_option *row, const struct conf_word *argument, void *object,
             struct err *err);

#endif
