/* The tables that messages.def makes: what each struct consists of, every method, every packet. */
#include "proto/msg.h"

#include <string.h>

#include "proto/base/cleanup.h"

#define MUST true
#define MAY  false

/* One field table per struct. */
#define STRUCT(s, doc_) static const struct msg_field fields_##s[] = {
#define END(s)                                                                                     \
    {                                                                                              \
        .name = ""                                                                                 \
    }                                                                                              \
    }                                                                                              \
    ;
#define AT(s, m)                       .name = #m, .offset = offsetof(struct msg_##s, m)
#define COUNT(s, m)                    .count_offset = offsetof(struct msg_##s, m)
#define STR(s, m, need, longest, doc_) {AT(s, m), .kind = MSG_STR, .must = need, .max = longest},
#define NAME(s, m, need, doc_)         {AT(s, m), .kind = MSG_NAME, .must = need, .max = GUEST_NAME_MAX},
#define INT(s, m, need, smallest, largest, doc_)                                                   \
    {AT(s, m), .kind = MSG_INT, .must = need, .min = smallest, .max = largest},
#define BOOL(s, m, doc_) {AT(s, m), .kind = MSG_BOOL},
#define ENUM(s, m, need, table_, doc_)                                                             \
    {AT(s, m), .kind = MSG_ENUM, .must = need, .words = WORDS_##table_},
#define BYTES(s, m, need, longest, doc_)                                                           \
    {AT(s, m), COUNT(s, m##_size), .kind = MSG_BYTES, .must = need, .max = longest},
#define LIST(s, m, type_, most_, doc_)                                                             \
    {AT(s, m), COUNT(s, m##_count), .kind = MSG_LIST, .max = most_, .type = MSG_##type_},
#define STRS(s, m, most_, longest, doc_)                                                           \
    {AT(s, m), COUNT(s, m##_count), .kind = MSG_STRS, .max = longest, .most = most_},
#define OBJ(s, m, type_, doc_) {AT(s, m), .kind = MSG_OBJ, .type = MSG_##type_},
#include "proto/messages.def"
#include "proto/msg_undef.h"

#define STRUCT(s, doc_)                                                                            \
    [MSG_##s] = {.name = #s,                                                                       \
                 .size = sizeof(struct msg_##s),                                                   \
                 .fields = fields_##s,                                                             \
                 .field_count = ARRAY_LEN(fields_##s) - 1},
#include "proto/msg_ignore_fields.h"
const struct msg_type msg_types[MSG_STRUCT_COUNT] = {
#include "proto/messages.def"
};
#include "proto/msg_undef.h"

#define METHOD(id, name_, role_, params_, result_, doc_)                                           \
    {name_, MSG_ROLE_##role_, MSG_##params_, MSG_##result_, doc_},
const struct msg_method_info msg_methods[METHOD_COUNT] = {
#include "proto/messages.def"
};
#undef METHOD

enum sender { QVMD = 1, QVM = 2, BOTH = 3 };

#define CONTROL(id, name_, from_, since_, type_, doc_)                                             \
    {name_, ((from_)&QVMD) != 0, ((from_)&QVM) != 0, since_, MSG_##type_},
const struct msg_control_info msg_controls[CONTROL_COUNT] = {
#include "proto/messages.def"
};
#undef CONTROL

int msg_method_find(const char *name)
{
    for (int i = 0; i < METHOD_COUNT; i++) {
        if (strcmp(msg_methods[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

static const struct msg_field *find_field(enum msg_struct type, int kind, const char *name)
{
    const struct msg_type *t = &msg_types[type];

    for (size_t i = 0; i < t->field_count; i++) {
        if ((int)t->fields[i].kind == kind && strcmp(t->fields[i].name, name) == 0) {
            return &t->fields[i];
        }
    }
    return NULL;
}

static const char *text_of(const struct msg_field *field, const void *body)
{
    const char *text = NULL;

    if (field != NULL) {
        memcpy(&text, (const char *)body + field->offset, sizeof(text));
    }
    return text;
}

const char *msg_name_of(enum msg_struct type, const void *body)
{
    return text_of(find_field(type, MSG_NAME, "name"), body);
}

const char *msg_device_of(enum msg_struct type, const void *body)
{
    return text_of(find_field(type, MSG_STR, "device"), body);
}

const char *msg_request_id_of(enum msg_struct type, const void *body)
{
    return text_of(find_field(type, MSG_STR, "request_id"), body);
}

bool msg_set_request_id(enum msg_struct type, void *body, char *id)
{
    const struct msg_field *field = find_field(type, MSG_STR, "request_id");

    if (field != NULL) {
        memcpy((char *)body + field->offset, &id, sizeof(id));
    }
    return field != NULL;
}
