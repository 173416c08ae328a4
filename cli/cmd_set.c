/* qvmctl set: change how qvmd looks after a guest. */
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/outcome.h"

#define VALUES_MAX 64 /* as qvmd takes */

/* The settings among the arguments into `values`, the names to the front; -1: said why not. */
static int read_arguments(int argc, char **argv, struct msg_value values[VALUES_MAX],
                          size_t *value_count)
{
    int names = 0;

    for (int i = 0; i < argc; i++) {
        char *value = strchr(argv[i], '=');

        if (value == NULL && *value_count == 0) {
            argv[names++] = argv[i];
            continue;
        }
        if (value == NULL || value == argv[i]) {
            (void)cli_usage("'%s' is not SETTING=VALUE, such as restart=on-failure", argv[i]);
            return -1;
        }
        if (*value_count == VALUES_MAX) {
            (void)cli_usage("at most %d settings can be changed at once", VALUES_MAX);
            return -1;
        }
        *value = '\0';
        values[(*value_count)++] = (struct msg_value){.name = argv[i], .value = value + 1};
    }
    argv[names] = NULL;
    return names;
}

static int run(const struct cli *cli, int argc, char **argv)
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    struct msg_value values[VALUES_MAX];
    struct msg_set_params params = {.values = values};
    int names = read_arguments(argc, argv, values, &params.values_count);

    if (names < 0) {
        return STATUS_USAGE;
    }
    if (params.values_count == 0 || (names == 0) != cli->all) {
        return cli_usage("set wants names, or --all, and then settings: web restart=on-failure");
    }
    return outcome_each(cli, patience, METHOD_set, &params, &params.name, "set", argv, names);
}

const struct command command_set = {
    .name = "set",
    .synopsis = "NAME ... SETTING=VALUE ... | --all SETTING=VALUE ...",
    .help = "change how guests are looked after: restart, on-reboot, after ...",
    .least = 2,
    .most = COMMAND_ANY_COUNT + VALUES_MAX,
    .formats = FORMATS_ALL,
    .takes_guests = true,
    .run = run,
};
