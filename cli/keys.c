#include "cli/keys.h"

#include "cli/client.h"
#include "cli/command.h"
#include "proto/base/err.h"
#include "proto/keys.h"

int keys_check(char *const *keys, int count)
{
    uint16_t codes[KEYS_MAX];
    struct err err = {0};

    for (int i = 0; i < count; i++) {
        if (keys_parse(keys[i], codes, &err) < 0) {
            return cli_usage("%s", err.msg);
        }
    }
    return STATUS_OK;
}

int keys_press(struct client *client, char *guest, char *const *keys, int count, struct err *err)
{
    int r = 0;

    for (int i = 0; r == 0 && i < count; i++) {
        struct msg_sendkey_params params = {.name = guest, .keys = keys[i]};
        struct msg_outcome outcome = {0};

        r = client_ask(client, METHOD_sendkey, &params, &outcome, err);
        msg_fini(MSG_outcome, &outcome);
    }
    return r;
}
