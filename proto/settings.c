#include "proto/settings.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/span.h"

#define SPAN_END  "_ms"
#define SAID_SIZE 256

void settings_init(struct msg_settings *settings)
{
    *settings = (struct msg_settings){
        .restart = RESTART_no, .on_reboot = ON_REBOOT_reset, .give_up = SETTINGS_GIVE_UP};
}

int settings_copy(const struct msg_settings *from, struct msg_settings *to)
{
    auto_free char *text = msg_encode(MSG_settings, from);

    return text != NULL ? msg_decode(MSG_settings, text, strlen(text), true, to, NULL) : -ENOMEM;
}

/* ---- names ---- */

/* Whether the first `size` bytes of `name` are `said`, where `-` is `_`. */
static bool is_said(const char *said, const char *name, size_t size)
{
    size_t i = 0;

    while (i < size && (said[i] == name[i] || (said[i] == '-' && name[i] == '_'))) {
        i++;
    }
    return i == size && said[i] == '\0';
}

/* The length of a field's name without the unit of a span. */
static size_t bare_size(const char *name)
{
    size_t size = strlen(name), end = sizeof(SPAN_END) - 1;

    return size > end && strcmp(name + size - end, SPAN_END) == 0 ? size - end : size;
}

/* The field called `name`; `*as_span`: it was called without its unit. */
static const struct msg_field *find_field(const char *name, bool *as_span)
{
    const struct msg_type *type = &msg_types[MSG_settings];

    for (size_t i = 0; i < type->field_count; i++) {
        const struct msg_field *field = &type->fields[i];
        size_t whole = strlen(field->name), bare = bare_size(field->name);

        *as_span = bare < whole && is_said(name, field->name, bare);
        if (*as_span || is_said(name, field->name, whole)) {
            return field;
        }
    }
    return NULL;
}

/* All names as people write them: "restart, on-reboot, ..." */
static const char *all_names(char said[SAID_SIZE])
{
    const struct msg_type *type = &msg_types[MSG_settings];
    size_t used = 0;

    for (size_t i = 0; i < type->field_count && used < SAID_SIZE; i++) {
        const char *name = type->fields[i].name;
        int n = snprintf(said + used, SAID_SIZE - used, "%s%.*s", i > 0 ? ", " : "",
                         (int)bare_size(name), name);

        used += n > 0 ? (size_t)n : 0;
    }
    for (char *at = said; (at = strchr(at, '_')) != NULL;) {
        *at = '-';
    }
    return said;
}

/* ---- values ---- */

static int set_word(const struct msg_field *field, const char *name, const char *value, int *slot,
                    struct err *err)
{
    int word = words_find(words_table(field->words), value);
    char said[SAID_SIZE] = "";
    size_t used = 0;

    if (word >= 0) {
        *slot = word;
        return 0;
    }
    for (int i = 0; i < words_table(field->words)->count && used < sizeof(said); i++) {
        int n = snprintf(said + used, sizeof(said) - used, "%s%s", i > 0 ? ", " : "",
                         words_name(words_table(field->words), i));

        used += n > 0 ? (size_t)n : 0;
    }
    return err_set(err, -EINVAL, "%s is one of %s, not '%s'", name, said, value);
}

static int set_bool(const char *name, const char *value, bool *slot, struct err *err)
{
    static const char *const names[] = {"no", "yes", "off", "on", "false", "true"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(value, names[i]) == 0) {
            *slot = i % 2 != 0;
            return 0;
        }
    }
    return err_set(err, -EINVAL, "%s is yes or no, not '%s'", name, value);
}

static int set_number(const struct msg_field *field, const char *name, const char *value,
                      int64_t *slot, struct err *err)
{
    char *end = NULL;
    long long number;

    errno = 0;
    number = strtoll(value, &end, 10);
    if (!isdigit((unsigned char)value[0]) || *end != '\0' || errno != 0 || number < field->min ||
        number > field->max) {
        return err_set(err, -EINVAL, "%s is a whole number from %lld to %lld, not '%s'", name,
                       (long long)field->min, (long long)field->max, value);
    }
    *slot = number;
    return 0;
}

static int set_span(const struct msg_field *field, const char *name, const char *value,
                    int64_t *slot, struct err *err)
{
    if (!span_parse(value, field->max, slot)) {
        return err_set(err, -EINVAL,
                       "%s is seconds, or a number with ms, s, m, h or d, at most %llds, not '%s'",
                       name, (long long)field->max / 1000, value);
    }
    return 0;
}

/* One name of a list, put behind those before it. */
static int add_name(const struct msg_field *field, const char *name, const char *one, char **list,
                    size_t *count, struct err *err)
{
    if (!guest_name_is_valid(one)) {
        return err_set(err, -EINVAL, "%s: '%s' cannot be the name of a guest", name, one);
    }
    if ((int64_t)*count == field->most) {
        return err_set(err, -EINVAL, "%s: more than %lld names", name, (long long)field->most);
    }
    for (size_t i = 0; i < *count; i++) {
        if (strcmp(list[i], one) == 0) {
            return err_set(err, -EINVAL, "%s: '%s' stands there twice", name, one);
        }
    }
    list[*count] = strdup(one);
    if (list[*count] == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    (*count)++;
    return 0;
}

static void free_names(char **list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(list[i]);
    }
    free(list);
}

static int set_names(const struct msg_field *field, const char *name, const char *value,
                     char ***slot, size_t *count_slot, struct err *err)
{
    auto_free char *copy = strdup(value);
    char **list = calloc((size_t)field->most, sizeof(*list));
    char *rest = copy, *one;
    size_t count = 0;
    int r = 0;

    if (copy == NULL || list == NULL) {
        free(list);
        return err_set(err, -ENOMEM, "out of memory");
    }
    while (r == 0 && value[0] != '\0' && (one = strsep(&rest, ",")) != NULL) {
        r = add_name(field, name, one, list, &count, err);
    }
    if (r != 0) {
        free_names(list, count);
        return r;
    }
    free_names(*slot, *count_slot);
    *slot = list;
    *count_slot = count;
    return 0;
}

int settings_set(struct msg_settings *settings, const char *name, const char *value,
                 struct err *err)
{
    bool as_span = false;
    const struct msg_field *field = find_field(name, &as_span);
    char said[SAID_SIZE];
    char *base = (char *)settings;

    if (field == NULL) {
        return err_set(err, -EINVAL, "there is no setting '%s'; there are %s", name,
                       all_names(said));
    }
    switch (field->kind) {
    case MSG_ENUM:
        return set_word(field, name, value, (int *)(void *)(base + field->offset), err);
    case MSG_BOOL:
        return set_bool(name, value, (bool *)(base + field->offset), err);
    case MSG_INT:
        return as_span
                   ? set_span(field, name, value, (int64_t *)(void *)(base + field->offset), err)
                   : set_number(field, name, value, (int64_t *)(void *)(base + field->offset), err);
    case MSG_STRS:
        return set_names(field, name, value, (char ***)(void *)(base + field->offset),
                         (size_t *)(void *)(base + field->count_offset), err);
    default:
        return err_set(err, -EINVAL, "%s cannot be set", name);
    }
}
