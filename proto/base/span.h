/* A span of time as people write it. Pure. */
#ifndef QVM_PROTO_BASE_SPAN_H
#define QVM_PROTO_BASE_SPAN_H

#include <stdbool.h>
#include <stdint.h>

#define SPAN_TEXT_MAX 31 /* bytes; longer ones are refused */

/* NUMBER[ms|s|m|h|d], seconds without a unit, decimals allowed: milliseconds from 0 to `most`.
 * false: it is none of these, and `*ms` is as it was. */
bool span_parse(const char *text, int64_t most, int64_t *ms);

#endif
