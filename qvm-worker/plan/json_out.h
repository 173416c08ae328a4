/* JSON written piece by piece to a stream: objects, arrays, and what is in them, one a line. No
 * memory, no errors: whoever made the stream looks at it (ferror). */
#ifndef QVM_WORKER_PLAN_JSON_OUT_H
#define QVM_WORKER_PLAN_JSON_OUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json_out {
    FILE *out; /* borrowed */
    /* private */
    unsigned depth;
    bool has_items; /* in what is open */
};

/* `name` is the member's name inside an object, NULL inside an array and outside of all. */
void json_out_open_object(struct json_out *json, const char *name);
void json_out_close_object(struct json_out *json);
void json_out_open_array(struct json_out *json, const char *name);
void json_out_close_array(struct json_out *json);

/* `value` is UTF-8; bytes that are not come out as U+FFFD. */
void json_out_string(struct json_out *json, const char *name, const char *value);
void json_out_number(struct json_out *json, const char *name, uint64_t value);
void json_out_bool(struct json_out *json, const char *name, bool value);

#endif
