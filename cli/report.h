/* Reports of `show` and `info`: one `NAME  VALUE` a line, what is empty left out. */
#ifndef QVM_CLI_REPORT_H
#define QVM_CLI_REPORT_H

#include <stdint.h>

/* `value` harmlessly; nothing when it is NULL or empty. */
void report_text(const char *name, const char *value);
void report_number(const char *name, int64_t value); /* nothing when 0 */
void report_count(const char *name, int64_t value);  /* also when 0 */
void report_size(const char *name, int64_t bytes);   /* nothing when 0 */
void report_span(const char *name, int64_t ms);      /* nothing when 0 */

/* A heading with an empty line before it. */
void report_heading(const char *text);

#endif
