/* The lexer of .qvmconf and qvmd.conf: texts and command-line words become a list of words, each
 * of which knows where it came from. No I/O: whoever calls reads the files.
 *
 * Plain text, read from start to end. `#` outside quotes starts a comment to the end of the line;
 * newlines are white space. "..." makes one word (or a part of one) with spaces, and may run over
 * lines; inside quotes a `\` at line end joins lines and \" is a quote. $env{NAME} is replaced by
 * a value from the caller's list and is not read again; $asinfo_start{NAME} and
 * $asinfo_length{NAME} by the hexadecimal address and size of a memory region of the host. A word
 * of the command line is taken as it stands, but for these. Outside quotes control characters are
 * white space (tab, newline, return) or refused; inside, tab and newline may stand. Every error
 * begins with FILE:LINE:, or with "command line:N:" for the N-th word of a command line, counted
 * from 1. */
#ifndef QVM_PROTO_CONF_WORDS_H
#define QVM_PROTO_CONF_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define CONF_PARTS_MAX       512        /* texts and command-line words of one configuration */
#define CONF_SOURCE_SIZE_MAX 262144     /* bytes of one text */
#define CONF_WORDS_MAX       16384      /* words of one configuration */
#define CONF_WORD_MAX        4095       /* bytes of one word, $env{} replaced */
#define CONF_TOTAL_MAX       (1u << 20) /* bytes of all words together, with their final NUL */
#define CONF_ENV_NAME_MAX    255
#define CONF_PLACE_SIZE      4224 /* room for FILE:LINE */

/* A text, or one word of the command line (then `name` is NULL). All members stay the caller's
 * and must outlive the words. */
struct conf_part {
    const char *name;      /* FILE, as the user wrote it */
    const char *directory; /* absolute: relative paths start here; NULL: there is none */
    const char *text;      /* `size` bytes; need not end in NUL */
    size_t size;
};

struct conf_word {
    const char *text; /* never NULL; without control characters but tab and newline */
    const struct conf_part *part;
    uint32_t line; /* from 1; of a command-line word its number, from 1 */
    bool is_quoted;
};

struct conf_words {
    struct conf_word *list;
    size_t count;
    /* private */
    size_t list_room;
    char *arena;
    size_t arena_used, arena_room;
};

/* Read all `parts` in order. `env` is a NULL-ended list of "NAME=VALUE" (NULL: empty). On failure
 * (-ENOEXEC with FILE:LINE in `err`, or -ENOMEM) `words` is empty. Ends with conf_words_fini(). */
int conf_words_read(struct conf_words *words, const struct conf_part *parts, size_t part_count,
                    const char *const *env, struct err *err);

/* The same, with memory regions of the host that have names; NULL: there are none. */
struct conf_regions;
int conf_words_read_regions(struct conf_words *words, const struct conf_part *parts,
                            size_t part_count, const char *const *env,
                            const struct conf_regions *regions, struct err *err);

/* Whether some part may speak of a memory region of the host. */
bool conf_parts_want_regions(const struct conf_part *parts, size_t part_count);

void conf_words_fini(struct conf_words *words);

/* Call `on_name` for each $env{NAME} of the parts, as often as it stands there, so that the values
 * can be sent along. A negative return ends the walk and is returned. */
typedef int (*conf_env_name_fn)(void *context, const char *name);
int conf_env_names(const struct conf_part *parts, size_t part_count, conf_env_name_fn on_name,
                   void *context, struct err *err);

/* "FILE:LINE" of `word` into `place`, which is returned. */
const char *conf_place(const struct conf_word *word, char place[CONF_PLACE_SIZE]);

/* A sentence is one line, whatever the word was that it quotes. NULL is fine. */
void conf_one_line(struct err *err);

/* Set `err` to "FILE:LINE: SENTENCE", one line, and return -ENOEXEC. */
int conf_fail(struct err *err, const struct conf_word *word, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
