/* Structs from JSON values, driven by the tables of msg_types.c. */
#include "proto/msg_codec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base64.h"

#define PATH_SIZE 256

/* Where a field lives in a struct: one place for the pointer arithmetic. */
static void *slot_at(void *body, size_t offset)
{
    return (char *)body + offset;
}

static void *element_at(void *list, enum msg_struct type, size_t i)
{
    return (char *)list + i * msg_types[type].size;
}

void msg_json_cleanup(json_t **value)
{
    json_decref(*value);
    *value = NULL;
}

/* ---- freeing ---- */

static void fini_field(const struct msg_field *field, void *body)
{
    void **slot = slot_at(body, field->offset);
    size_t *count = slot_at(body, field->count_offset);

    switch (field->kind) {
    case MSG_INT:
    case MSG_BOOL:
    case MSG_ENUM:
        return;
    case MSG_LIST:
        for (size_t i = 0; *slot != NULL && i < *count; i++) {
            msg_fini(field->type, element_at(*slot, field->type, i));
        }
        break;
    case MSG_STRS:
        for (size_t i = 0; *slot != NULL && i < *count; i++) {
            free(((char **)*slot)[i]);
        }
        break;
    case MSG_OBJ:
        if (*slot != NULL) {
            msg_fini(field->type, *slot);
        }
        break;
    case MSG_STR:
    case MSG_NAME:
    case MSG_BYTES:
        break;
    }
    free(*slot);
}

void msg_fini(enum msg_struct type, void *body)
{
    const struct msg_type *t = &msg_types[type];

    if (body == NULL) {
        return;
    }
    for (size_t i = 0; i < t->field_count; i++) {
        fini_field(&t->fields[i], body);
    }
    memset(body, 0, t->size);
}

void msg_free(enum msg_struct type, void *body)
{
    msg_fini(type, body);
    free(body);
}

/* ---- values to text ---- */

char *msg_json_text(const json_t *value, const char *end)
{
    size_t size = json_dumpb(value, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY);
    char *text = size > 0 ? malloc(size + strlen(end) + 1) : NULL;

    if (text != NULL) {
        (void)json_dumpb(value, text, size, JSON_COMPACT | JSON_ENCODE_ANY); /* just measured */
        memcpy(text + size, end, strlen(end) + 1);
    }
    return text;
}

/* ---- JSON to struct ---- */

/* Nesting deeper than MSG_DEPTH_MAX, told before the parser recurses. */
static bool is_too_deep(const char *text, size_t size)
{
    int depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < size; i++) {
        if (in_string) {
            if (text[i] == '\\') {
                i++;
            } else if (text[i] == '"') {
                in_string = false;
            }
        } else if (text[i] == '"') {
            in_string = true;
        } else if (text[i] == '{' || text[i] == '[') {
            if (++depth > MSG_DEPTH_MAX) {
                return true;
            }
        } else if (text[i] == '}' || text[i] == ']') {
            depth--;
        }
    }
    return false;
}

int msg_json_load(const char *text, size_t size, json_t **value, struct err *err)
{
    json_error_t error;

    if (is_too_deep(text, size)) {
        return err_set(err, -EBADMSG, "the message is nested deeper than %d", MSG_DEPTH_MAX);
    }
    *value = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (*value == NULL) {
        return err_set(err, -EBADMSG, "the message is not JSON: %s at byte %d", error.text,
                       error.position);
    }
    return 0;
}

static int wrong(struct err *err, const char *path, const struct msg_field *field, const char *what)
{
    return err_set(err, -EINVAL, "'%s%s' %s", path, field->name, what);
}

static int read_text(const struct msg_field *field, const json_t *value, const char *path,
                     int64_t longest, char **text, struct err *err)
{
    const char *s = json_string_value(value);

    if (s == NULL) {
        return wrong(err, path, field, "must be a text");
    }
    if ((int64_t)strlen(s) > longest) {
        return err_set(err, -EINVAL, "'%s%s' is longer than %lld bytes", path, field->name,
                       (long long)longest);
    }
    if (field->kind == MSG_NAME && !guest_name_is_valid(s)) {
        return wrong(err, path, field,
                     "is not a guest's name: a letter, then letters, digits, '.', '-' or '_', "
                     "at most 63");
    }
    *text = strdup(s);
    return *text != NULL ? 0 : -ENOMEM;
}

static int read_bytes(const struct msg_field *field, const json_t *value, const char *path,
                      void *body, struct err *err)
{
    const char *s = json_string_value(value);
    int r = s != NULL ? base64_decode(s, (size_t)field->max, slot_at(body, field->offset),
                                      slot_at(body, field->count_offset))
                      : -EINVAL;

    if (r == -EMSGSIZE) {
        return err_set(err, -EINVAL, "'%s%s' is longer than %lld bytes", path, field->name,
                       (long long)field->max);
    }
    return r == -EINVAL ? wrong(err, path, field, "must be base64") : r;
}

static int read_list(const struct msg_field *field, json_t *value, bool is_request,
                     const char *path, void *body, struct err *err)
{
    size_t element = field->kind == MSG_STRS ? sizeof(char *) : msg_types[field->type].size;
    int64_t most = field->kind == MSG_STRS ? field->most : field->max;
    size_t *count = slot_at(body, field->count_offset);
    size_t size = json_array_size(value);
    char *list;
    int r = 0;

    if (!json_is_array(value)) {
        return wrong(err, path, field, "must be a list");
    }
    if ((int64_t)size > most) {
        return err_set(err, -EINVAL, "'%s%s' has more than %lld elements", path, field->name,
                       (long long)most);
    }
    list = calloc(size + 1, element);
    if (list == NULL) {
        return -ENOMEM;
    }
    *(void **)slot_at(body, field->offset) = list;
    for (size_t i = 0; i < size && r == 0; i++) {
        char inner[PATH_SIZE];

        (void)snprintf(inner, sizeof(inner), "%s%s[%zu].", path, field->name, i);
        *count = i + 1; /* so that a half-read list is freed */
        r = field->kind == MSG_STRS ? read_text(field, json_array_get(value, i), path, field->max,
                                                &((char **)(void *)list)[i], err)
                                    : msg_json_read(field->type, json_array_get(value, i),
                                                    is_request, inner, list + i * element, err);
    }
    return r;
}

static int read_object(const struct msg_field *field, json_t *value, bool is_request,
                       const char *path, void *body, struct err *err)
{
    char inner[PATH_SIZE];
    void *object = calloc(1, msg_types[field->type].size);

    (void)snprintf(inner, sizeof(inner), "%s%s.", path, field->name);
    *(void **)slot_at(body, field->offset) = object;
    return object != NULL ? msg_json_read(field->type, value, is_request, inner, object, err)
                          : -ENOMEM;
}

static int read_int(const struct msg_field *field, const json_t *value, const char *path,
                    int64_t *number, struct err *err)
{
    if (!json_is_integer(value)) {
        return wrong(err, path, field, "must be a whole number");
    }
    *number = json_integer_value(value);
    if (*number < field->min || *number > field->max) {
        return err_set(err, -EINVAL, "'%s%s' must lie between %lld and %lld", path, field->name,
                       (long long)field->min, (long long)field->max);
    }
    return 0;
}

static int read_field(const struct msg_field *field, json_t *value, bool is_request,
                      const char *path, void *body, struct err *err)
{
    void *slot = slot_at(body, field->offset);

    switch (field->kind) {
    case MSG_STR:
    case MSG_NAME:
        return read_text(field, value, path, field->max, slot, err);
    case MSG_INT:
        return read_int(field, value, path, slot, err);
    case MSG_BOOL:
        *(bool *)slot = json_is_true(value);
        return json_is_boolean(value) ? 0 : wrong(err, path, field, "must be true or false");
    case MSG_ENUM: {
        const char *word = json_string_value(value);

        *(int *)slot = word != NULL ? words_find(words_table(field->words), word) : -1;
        return *(int *)slot >= 0 ? 0
                                 : err_set(err, -EINVAL, "'%s%s' is not a %s", path, field->name,
                                           words_table(field->words)->name);
    }
    case MSG_BYTES:
        return read_bytes(field, value, path, body, err);
    case MSG_LIST:
    case MSG_STRS:
        return read_list(field, value, is_request, path, body, err);
    case MSG_OBJ:
        return read_object(field, value, is_request, path, body, err);
    }
    return -EINVAL;
}

/* In a request, what is not in the list is refused: a misspelt member must not be lost. */
static int refuse_unknown(const struct msg_type *t, json_t *object, const char *path,
                          struct err *err)
{
    const char *key;
    json_t *value;

    json_object_foreach(object, key, value)
    {
        size_t i = 0;

        while (i < t->field_count && strcmp(t->fields[i].name, key) != 0) {
            i++;
        }
        if (i == t->field_count) {
            return err_set(err, -EINVAL, "'%s%.64s' is not known here", path, key);
        }
    }
    return 0;
}

int msg_json_read(enum msg_struct type, json_t *object, bool is_request, const char *path,
                  void *body, struct err *err)
{
    const struct msg_type *t = &msg_types[type];
    int r = 0;

    memset(body, 0, t->size);
    if (!json_is_object(object)) {
        int size = (int)strlen(path);

        return err_set(err, -EINVAL, "'%.*s' must be an object", size > 0 ? size - 1 : 6,
                       size > 0 ? path : "params");
    }
    if (is_request) {
        r = refuse_unknown(t, object, path, err);
    }
    for (size_t i = 0; i < t->field_count && r == 0; i++) {
        json_t *value = json_object_get(object, t->fields[i].name);

        if (value != NULL) {
            r = read_field(&t->fields[i], value, is_request, path, body, err);
        } else if (t->fields[i].must) {
            r = wrong(err, path, &t->fields[i], "is missing");
        }
    }
    if (r == -ENOMEM) {
        (void)err_set(err, r, "out of memory");
    }
    if (r != 0) {
        msg_fini(type, body);
    }
    return r;
}

int msg_decode(enum msg_struct type, const char *text, size_t size, bool is_request, void *body,
               struct err *err)
{
    auto_json json_t *object = NULL;
    auto_free char *copy = calloc(1, msg_types[type].size + 1);
    int r = copy != NULL ? msg_json_load(text, size, &object, err) : -ENOMEM;

    if (r == 0) {
        r = msg_json_read(type, object, is_request, "", copy, err);
    }
    if (r == 0) {
        memcpy(body, copy, msg_types[type].size);
    }
    return r;
}
