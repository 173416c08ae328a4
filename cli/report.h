/* Reports of `show` and `info`: one `NAME  VALUE` a line, what is empty left out. */
#ifndef QVM_CLI_REPORT_H
#define QVM_CLI_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct word_table;

enum report_kind {
    REPORT_TEXT,   /* char *: harmlessly; nothing when NULL or empty */
    REPORT_NUMBER, /* int64_t: nothing when 0 */
    REPORT_COUNT,  /* int64_t: also when 0 */
    REPORT_SIZE,   /* int64_t bytes: nothing when 0 */
    REPORT_SPAN,   /* int64_t milliseconds: nothing when 0 */
    REPORT_WORD    /* int, a word of `table`: nothing when it has no name */
};

/* One line of a report about a struct. */
struct report_row {
    const char *name;
    enum report_kind kind;
    size_t offset; /* of the member */
    const struct word_table *table;
    bool (*is_shown)(const void *body); /* NULL: always */
};

/* report_row members for `type`.`member`; a member of the wrong type does not compile. */
#define REPORT_MEMBER_TEXT(type, member)   REPORT_MEMBER(type, member, char *, REPORT_TEXT)
#define REPORT_MEMBER_NUMBER(type, member) REPORT_MEMBER(type, member, int64_t, REPORT_NUMBER)
#define REPORT_MEMBER_COUNT(type, member)  REPORT_MEMBER(type, member, int64_t, REPORT_COUNT)
#define REPORT_MEMBER_SIZE(type, member)   REPORT_MEMBER(type, member, int64_t, REPORT_SIZE)
#define REPORT_MEMBER_SPAN(type, member)   REPORT_MEMBER(type, member, int64_t, REPORT_SPAN)
#define REPORT_MEMBER_WORD(type, member, words)                                                    \
    REPORT_MEMBER(type, member, int, REPORT_WORD), .table = &(words)
#define REPORT_MEMBER(type, member, wanted, as)                                                    \
    .kind = _Generic(((type *)NULL)->member, wanted : (as)), .offset = offsetof(type, member)

/* The rows that have something to say of `body`. */
void report_rows(const struct report_row *rows, size_t count, const void *body);

/* A line of its own; nothing when `value` is NULL or empty. */
void report_text(const char *name, const char *value);

/* A heading with an empty line before it. */
void report_heading(const char *text);

#endif
