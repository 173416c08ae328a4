/* The manual pages tell all that the lists know: qvm-api(7) every method, struct, member with its
 * limit, word and error; qvmctl(1) every command, option and exit status. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "proto/base/cleanup.h"
#include "proto/msg.h"
#include "tests/unit/unit.h"

#define TEXT_MAX 400

/* A page of the source tree; the caller frees it. */
static char *read_page(const char *name)
{
    const char *tree = getenv("QVM_SOURCE");
    char path[TEXT_MAX];
    char *text = NULL;
    size_t size = 0;
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/%s", tree != NULL ? tree : ".", name);
    file = fopen(path, "re");
    ck_assert_msg(file != NULL, "%s cannot be opened", path);
    ck_assert_int_gt(getdelim(&text, &size, '\0', file), 0);
    (void)fclose(file);
    return text;
}

/* The part from behind the line `heading` to the next section, or for a subsection (.Ss) to the
 * next of either kind. NULL: no such heading. The caller frees it. */
static char *find_part(const char *page, const char *heading)
{
    char line[TEXT_MAX];
    const char *start, *stop, *sub;

    (void)snprintf(line, sizeof(line), "\n%s\n", heading);
    start = strstr(page, line);
    if (start == NULL) {
        return NULL;
    }
    start += strlen(line) - 1;
    stop = strstr(start, "\n.Sh ");
    sub = strncmp(heading, ".Ss", 3) == 0 ? strstr(start, "\n.Ss ") : NULL;
    stop = sub != NULL && (stop == NULL || sub < stop) ? sub : stop;
    return stop != NULL ? strndup(start, (size_t)(stop - start)) : strdup(start);
}

/* The item that begins with `.It MACRO NAME` (or `.It NAME`) and a blank or the line's end, up to
 * the next item. */
static char *find_item(const char *part, const char *macro, const char *name)
{
    char line[TEXT_MAX];
    size_t size = (size_t)snprintf(line, sizeof(line), "\n.It %s%s%s", macro,
                                   *macro != '\0' ? " " : "", name);
    const char *start = strstr(part, line), *stop;

    while (start != NULL && !isspace((unsigned char)start[size])) {
        start = strstr(start + size, line);
    }
    if (start == NULL) {
        return NULL;
    }
    stop = strstr(start + size, "\n.It ");
    return stop != NULL ? strndup(start, (size_t)(stop - start)) : strdup(start);
}

static void expect_item(const char *part, const char *macro, const char *name, const char *where)
{
    auto_free char *item = find_item(part, macro, name);

    ck_assert_msg(item != NULL, "%s does not tell '%s'", where, name);
    ck_assert_msg(strchr(item + 1, '\n') != NULL && strlen(strchr(item + 1, '\n')) > 8,
                  "%s says nothing about '%s'", where, name);
}

static void expect_words(const char *page, const char *section, const struct word_table *table)
{
    char heading[TEXT_MAX];
    auto_free char *part = NULL;

    (void)snprintf(heading, sizeof(heading), ".Sh %s", section);
    part = find_part(page, heading);
    ck_assert_msg(part != NULL, "there is no section %s", section);
    for (int i = 0; i < table->count; i++) {
        if (words_name(table, i) != NULL) {
            expect_item(part, "Ic", words_name(table, i), section);
        }
    }
}

START_TEST(the_api_page_tells_every_method_with_its_role_and_structs)
{
    static const char *const roles[] = {"Viewer", "Operator", "Admin"};
    auto_free char *page = read_page("proto/qvm-api.7");
    auto_free char *part = find_part(page, ".Sh METHODS");

    ck_assert_ptr_nonnull(part);
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        const struct msg_method_info *method = &msg_methods[i];
        auto_free char *item = find_item(part, "Ic", method->name);
        char line[TEXT_MAX];

        ck_assert_msg(item != NULL, "METHODS does not tell '%s'", method->name);
        (void)snprintf(line, sizeof(line), "\n.Em %s ;\n.Vt %s\n", roles[method->role],
                       msg_types[method->params].name);
        ck_assert_msg(strstr(item, line) != NULL, "'%s': role or parameters differ", method->name);
        (void)snprintf(line, sizeof(line), "\n.Vt %s .\n", msg_types[method->result].name);
        ck_assert_msg(i == METHOD_discover || strstr(item, line) != NULL, "'%s': result differs",
                      method->name);
    }
}
END_TEST

/* The limit of a member as the page writes it. */
static void limit_text(const struct msg_field *field, char text[TEXT_MAX])
{
    switch (field->kind) {
    case MSG_STR:
        (void)snprintf(text, TEXT_MAX, "text of at most %" PRId64 " bytes", field->max);
        break;
    case MSG_BYTES:
        (void)snprintf(text, TEXT_MAX, "base64 of at most %" PRId64 " bytes", field->max);
        break;
    case MSG_STRS:
        (void)snprintf(text, TEXT_MAX, "list of at most %" PRId64 " texts of at most %" PRId64,
                       field->most, field->max);
        break;
    case MSG_LIST:
        (void)snprintf(text, TEXT_MAX, "list of at most %" PRId64 " %s", field->max,
                       msg_types[field->type].name);
        break;
    case MSG_OBJ:
        (void)snprintf(text, TEXT_MAX, "object %s", msg_types[field->type].name);
        break;
    case MSG_INT:
        if (field->max >= INT32_MAX && field->max != UINT32_MAX) {
            (void)snprintf(text, TEXT_MAX, "whole number from %" PRId64 " to 2^%d-1", field->min,
                           field->max == INT64_MAX ? 63 : 31);
        } else {
            (void)snprintf(text, TEXT_MAX, "whole number from %" PRId64 " to %" PRId64, field->min,
                           field->max);
        }
        break;
    case MSG_ENUM:
        (void)snprintf(text, TEXT_MAX, "word of the list ");
        break;
    case MSG_NAME:
        (void)snprintf(text, TEXT_MAX, "name of a guest");
        break;
    case MSG_BOOL:
        (void)snprintf(text, TEXT_MAX, "true or false");
        break;
    }
}

START_TEST(the_api_page_tells_every_struct_with_its_members_and_their_limits)
{
    auto_free char *page = read_page("proto/qvm-api.7");

    for (size_t i = 0; i < MSG_STRUCT_COUNT; i++) {
        const struct msg_type *type = &msg_types[i];
        auto_free char *part = NULL;
        char line[TEXT_MAX + 16], limit[TEXT_MAX];

        (void)snprintf(line, sizeof(line), ".Ss %s", type->name);
        part = find_part(page, line);
        ck_assert_msg(i == MSG_none || part != NULL, "there is no struct '%s'", type->name);
        for (size_t j = 0; j < type->field_count; j++) {
            auto_free char *item = find_item(part, "Va", type->fields[j].name);

            ck_assert_msg(item != NULL, "%s.%s is not told", type->name, type->fields[j].name);
            limit_text(&type->fields[j], limit);
            (void)snprintf(line, sizeof(line), "\n(%s; %s", type->fields[j].must ? "must" : "may",
                           limit);
            ck_assert_msg(strstr(item, line) != NULL, "%s.%s should say '%s'", type->name,
                          type->fields[j].name, line + 1);
        }
    }
}
END_TEST

START_TEST(the_api_page_tells_every_word_error_control_message_and_limit)
{
    static const uint64_t limits[] = {MSG_LINE_MAX,   MSG_DEPTH_MAX,  MSG_ID_MAX,
                                      MSG_PACKET_MAX, MSG_PACKET_FDS, GUEST_NAME_MAX};
    auto_free char *page = read_page("proto/qvm-api.7");
    auto_free char *errors = find_part(page, ".Sh ERROR NAMES");
    auto_free char *controls = find_part(page, ".Sh CONTROL SOCKET");

    expect_words(page, "EVENTS", &words_what);
    expect_words(page, "STATES", &words_state);
    expect_words(page, "REASONS", &words_reason);
    expect_words(page, "RESTART", &words_restart);
    expect_words(page, "REBOOTS", &words_on_reboot);
    expect_words(page, "RESOURCE KINDS", &words_resource_kind);
    ck_assert(errors != NULL && controls != NULL);
    for (size_t i = 0; i < error_word_count; i++) {
        char code[TEXT_MAX];

        expect_item(errors, "Er", error_words[i].name, "ERROR NAMES");
        (void)snprintf(code, sizeof(code), ".It Er %s Pq %d\n", error_words[i].name,
                       error_words[i].rpc_code);
        ck_assert_msg(strstr(errors, code) != NULL, "code of '%s' differs", error_words[i].name);
    }
    for (size_t i = 0; i < CONTROL_COUNT; i++) {
        expect_item(controls, "Ic", msg_controls[i].name, "CONTROL SOCKET");
    }
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        char number[TEXT_MAX];

        (void)snprintf(number, sizeof(number), "%" PRIu64, limits[i]);
        ck_assert_msg(strstr(page, number) != NULL, "the limit %s is not told", number);
    }
}
END_TEST

/* Options stand as `.It Fl c , Fl -console`, or `.It Fl -timeout Ar SECONDS`. */
static void expect_option(const char *part, const struct option_row *row, const char *where)
{
    char item[TEXT_MAX];
    size_t used = row->letter != 0
                      ? (size_t)snprintf(item, sizeof(item), "%c , Fl -%s", row->letter, row->name)
                      : (size_t)snprintf(item, sizeof(item), "-%s", row->name);

    if (row->argument != NULL) {
        (void)snprintf(item + used, sizeof(item) - used, " Ar %s", row->argument);
    }
    expect_item(part, "Fl", item, where);
}

/* Whether the line (one that ends in `\` goes on) has that word, not a longer one that begins so.
 */
static bool shows(const char *line, const char *word, size_t size)
{
    const char *end = strchr(line, '\n');

    while (end[-1] == '\\') {
        end = strchr(end + 1, '\n');
    }
    for (; line + size <= end; line++) {
        if (strncmp(line, word, size) == 0 && !isupper((unsigned char)line[size])) {
            return true;
        }
    }
    return false;
}

/* Each word in capitals of the synopsis stands in the lines (.Dl) that show the command. */
static void expect_synopsis(const char *part, const struct command *command)
{
    for (const char *word = command->synopsis; *word != '\0';) {
        size_t size = strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        bool is_found = size < 2;

        for (const char *line = strstr(part, "\n.Dl "); line != NULL && !is_found;
             line = strstr(line + 1, "\n.Dl ")) {
            is_found = shows(line + 1, word, size);
        }
        ck_assert_msg(is_found, "'%s' is not shown with %.*s", command->name, (int)size, word);
        word += size > 0 ? size : 1;
    }
}

START_TEST(the_page_of_qvmctl_tells_every_command_and_option)
{
    auto_free char *page = read_page("cli/qvmctl.1");
    auto_free char *global = find_part(page, ".Sh OPTIONS");
    auto_free char *names = find_part(page, ".Ss Naming guests");

    ck_assert(global != NULL && names != NULL);
    for (const struct option_row *row = global_options; row->name != NULL; row++) {
        expect_option(global, row, "OPTIONS");
    }
    for (const struct option_row *row = guest_options; row->name != NULL; row++) {
        expect_option(names, row, "Naming guests");
    }
    for (size_t i = 0; commands[i] != NULL; i++) {
        char heading[TEXT_MAX];
        auto_free char *part = NULL;

        (void)snprintf(heading, sizeof(heading), ".Ss %s", commands[i]->name);
        part = find_part(page, heading);
        ck_assert_msg(part != NULL, "there is no command '%s'", commands[i]->name);
        expect_synopsis(part, commands[i]);
        ck_assert_msg(!commands[i]->takes_guests || strstr(part, "Fl -all") != NULL,
                      "'%s' is not shown with --all", commands[i]->name);
        for (const struct option_row *row = commands[i]->options; row != NULL && row->name != NULL;
             row++) {
            expect_option(part, row, commands[i]->name);
        }
    }
}
END_TEST

START_TEST(the_page_of_qvmctl_tells_the_exit_status_of_every_error)
{
    auto_free char *page = read_page("cli/qvmctl.1");
    auto_free char *part = find_part(page, ".Sh EXIT STATUS");

    ck_assert_ptr_nonnull(part);
    for (size_t i = 0; i < error_word_count; i++) {
        char status[16], name[TEXT_MAX];
        auto_free char *item = NULL;

        (void)snprintf(status, sizeof(status), "%d", error_words[i].exit_status);
        (void)snprintf(name, sizeof(name), "%s", error_words[i].name);
        item = find_item(part, "", status);
        ck_assert_msg(item != NULL && strstr(item, name) != NULL, "status %s does not name '%s'",
                      status, name);
    }
}
END_TEST

/* Whether an item `.It Fn A , B` of the page begins a description of `name`. */
static bool tells_function(const char *page, const char *name, size_t size)
{
    for (const char *item = page; (item = strstr(item, "\n.It Fn ")) != NULL; item++) {
        const char *word = item + strlen("\n.It Fn ");

        while (*word != '\n' && *word != '\0') {
            size_t length = strcspn(word, " ,\n");

            if (length == size && strncmp(word, name, size) == 0) {
                return true;
            }
            word += length;
            word += strspn(word, " ,");
        }
    }
    return false;
}

START_TEST(the_page_of_vdevs_tells_every_operation_and_service)
{
    auto_free char *page = read_page("vdevs/qvm-vdev.3");
    auto_free char *header = read_page("vdevs/include/qvm/vdev.h");
    unsigned count = 0;

    for (const char *at = header; (at = strstr(at, "(*")) != NULL; at++) {
        const char *name = at + 2;
        size_t size = strcspn(name, ")");

        if (strchr("\n ", at[-1]) != NULL || at[-1] == '*') {
            if (size > 4 && strncmp(name, "vdev_", 5) == 0) {
                continue; /* a type of function */
            }
            count++;
            ck_assert_msg(tells_function(page, name, size), "'%.*s' is not told", (int)size, name);
        }
    }
    ck_assert_uint_gt(count, 30);
}
END_TEST

UNIT_MAIN("docs", the_api_page_tells_every_method_with_its_role_and_structs,
          the_api_page_tells_every_struct_with_its_members_and_their_limits,
          the_api_page_tells_every_word_error_control_message_and_limit,
          the_page_of_qvmctl_tells_every_command_and_option,
          the_page_of_qvmctl_tells_the_exit_status_of_every_error,
          the_page_of_vdevs_tells_every_operation_and_service)
