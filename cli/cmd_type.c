/* qvmctl type: type a text at a guest's keyboard. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/names.h"
#include "proto/base/err.h"

#define TEXT_MAX  4096
#define KEYS_SIZE 32
#define AGAIN_NS  20000000 /* after the guest had no room */

/* The characters of a US keyboard that have keys with other names; those of `shifted` stand on the
 * same keys. Letters and digits are their own names. */
static const struct {
    char plain, shifted;
    const char *key;
} key_rows[] = {
    {' ', 0, "spc"},
    {'\n', 0, "ret"},
    {'\t', 0, "tab"},
    {'-', '_', "minus"},
    {'=', '+', "equal"},
    {'[', '{', "bracket_left"},
    {']', '}', "bracket_right"},
    {';', ':', "semicolon"},
    {'\'', '"', "apostrophe"},
    {'`', '~', "grave_accent"},
    {'\\', '|', "backslash"},
    {',', '<', "comma"},
    {'.', '>', "dot"},
    {'/', '?', "slash"},
    {'1', '!', "1"},
    {'2', '@', "2"},
    {'3', '#', "3"},
    {'4', '$', "4"},
    {'5', '%', "5"},
    {'6', '^', "6"},
    {'7', '&', "7"},
    {'8', '*', "8"},
    {'9', '(', "9"},
    {'0', ')', "0"},
};

/* The keys of a character, as sendkey has them; false: it has none. */
static bool keys_of(char character, char keys[KEYS_SIZE])
{
    if (character >= 'a' && character <= 'z') {
        (void)snprintf(keys, KEYS_SIZE, "%c", character);
        return true;
    }
    if (character >= 'A' && character <= 'Z') {
        (void)snprintf(keys, KEYS_SIZE, "shift-%c", character - 'A' + 'a');
        return true;
    }
    for (size_t i = 0; character != 0 && i < sizeof(key_rows) / sizeof(key_rows[0]); i++) {
        if (character == key_rows[i].plain || character == key_rows[i].shifted) {
            (void)snprintf(keys, KEYS_SIZE, "%s%s", character == key_rows[i].plain ? "" : "shift-",
                           key_rows[i].key);
            return true;
        }
    }
    return false;
}

/* All of it before the first key is pressed. */
static int check(const char *text)
{
    char keys[KEYS_SIZE];

    if (strlen(text) > TEXT_MAX) {
        return cli_usage("at most %d characters can be typed at once", TEXT_MAX);
    }
    for (size_t i = 0; text[i] != '\0'; i++) {
        if (!keys_of(text[i], keys)) {
            return cli_usage("character %zu has no key on a US keyboard", i + 1);
        }
    }
    return STATUS_OK;
}

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Press the keys of a character; a guest that has no room reads soon, if it reads at all. */
static int press(struct client *client, char *name, char *keys, int64_t patience, struct err *err)
{
    const struct timespec again = {.tv_nsec = AGAIN_NS};
    int64_t end = now_ms() + patience;

    for (;;) {
        struct msg_sendkey_params params = {.name = name, .keys = keys};
        struct msg_outcome outcome = {0};
        int r = client_ask(client, METHOD_sendkey, &params, &outcome, err);

        msg_fini(MSG_outcome, &outcome);
        if (r != -ENOBUFS || now_ms() >= end) {
            return r;
        }
        (void)nanosleep(&again, NULL);
    }
}

static int run(const struct cli *cli, int argc, char **argv)
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    auto_client struct client client = CLIENT_CLOSED;
    const char *text = argv[1];
    struct err err = {0};
    int status = check(text);

    (void)argc;
    if (status != STATUS_OK) {
        return status;
    }
    if (client_init(&client, cli, patience, &err) != 0) {
        return cli_fail(&err);
    }
    for (size_t i = 0; text[i] != '\0'; i++) {
        char keys[KEYS_SIZE];

        (void)keys_of(text[i], keys);
        if (press(&client, argv[0], keys, patience, &err) != 0) {
            (void)err_prefix(&err, "%zu of %zu characters were typed: ", i, strlen(text));
            return cli_fail(&err);
        }
    }
    return STATUS_OK;
}

const struct command command_type = {
    .name = "type",
    .synopsis = "NAME TEXT",
    .help = "type a text at a guest's keyboard, as on a US one",
    .least = 2,
    .most = 2,
    .formats = FORMATS_TABLE,
    .all_means = names_can_reset, /* of these the shells offer names */
    .run = run,
};
