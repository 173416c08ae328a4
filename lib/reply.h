/* What qvmd says, one line of JSON: members by their names, in the text as it is. Any thread. */
#ifndef QVM_LIB_REPLY_H
#define QVM_LIB_REPLY_H

#include <stddef.h>
#include <stdint.h>

/* A value in the line; NULL: it is not there. */
struct reply_value {
    const char *start, *end;
};

/* The member of an object; not there if the object is none. */
struct reply_value reply_member(struct reply_value object, const char *name);

/* A whole number, `otherwise` if it is none. */
int64_t reply_number(struct reply_value value, int64_t otherwise);

/* A string, as far as there is room; `?` stands for what is not ASCII or was escaped by its number.
 * Empty if it is none. */
void reply_text(struct reply_value value, char *text, size_t size);

#endif
