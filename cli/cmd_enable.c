/* qvmctl enable: start guests with the host. */
#include <stdbool.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/outcome.h"
#include "proto/base/cleanup.h"

static const char *after, *delay;

static const struct option_row options[] = {
    {"after", 0, OPTION_TEXT, {.text = &after}, "NAMES", "when these guests run (split at commas)"},
    {"delay", 0, OPTION_TEXT, {.text = &delay}, "SECONDS", "and so long after that"},
    {0},
};

static int run(const struct cli *cli, int argc, char **argv)
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    const struct {
        const char *name, *value;
    } wanted[] = {{"enabled", "yes"}, {"after", after}, {"delay", delay}};
    struct msg_value values[ARRAY_LEN(wanted)];
    struct msg_set_params params = {.values = values};

    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        if (wanted[i].value != NULL) {
            values[params.values_count++] = outcome_value(wanted[i].name, wanted[i].value);
        }
    }
    return outcome_each(cli, patience, METHOD_set, &params, &params.name, "enabled", argv, argc);
}

const struct command command_enable = {
    .name = "enable",
    .synopsis = "[--after NAMES] [--delay SECONDS] NAME ... | --all",
    .help = "start guests with the host",
    .options = options,
    .least = 1,
    .most = COMMAND_ANY_COUNT,
    .takes_guests = true,
    .formats = FORMATS_ALL,
    .run = run,
};
