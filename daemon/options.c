#include "daemon/options.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "daemon/config.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

const char options_usage[] =
    "usage: qvmd [--config FILE] [--private DIR] [--worker FILE] [--vdevs DIR]\n"
    "            [--ready-fd NUMBER] [--foreground] [--check]\n"
    "  --config FILE   read FILE instead of " CONFIG_PATH "\n"
    "  --private DIR   keep everything in DIR: an instance of one's own\n"
    "  --worker FILE   the program that hosts one guest, instead of the configured one\n"
    "  --vdevs DIR     where vdev-NAME.so lie, instead of the configured directory\n"
    "  --ready-fd N    write a line to descriptor N, and close it, when the API can be used\n"
    "  --foreground    accepted for scripts; qvmd never goes to the background\n"
    "  --check         only say whether the configuration is one for this host\n"
    "  --version       say which version this is\n"
    "  --help          say this\n";

static const struct option table[] = {
    {"config", required_argument, NULL, 'c'},   {"private", required_argument, NULL, 'p'},
    {"worker", required_argument, NULL, 'w'},   {"vdevs", required_argument, NULL, 'd'},
    {"ready-fd", required_argument, NULL, 'r'}, {"foreground", no_argument, NULL, 'f'},
    {"check", no_argument, NULL, 'k'},          {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'v'},        {NULL, 0, NULL, 0},
};

static int read_fd(const char *text, int *fd, struct err *err)
{
    char *end;
    long value = strtol(text, &end, 10);

    if (*text == '\0' || *end != '\0' || value < 0 || value > INT_MAX ||
        fcntl((int)value, F_GETFD) < 0) {
        return err_set(err, -EINVAL, "'%s' is not the number of an open descriptor", text);
    }
    *fd = (int)value;
    return 0;
}

/* One option as getopt found it; `word` is the one that it looked at last. */
static int take_option(struct options *options, int c, const char *word, struct err *err)
{
    switch (c) {
    case 'c':
        options->config_path = optarg;
        return 0;
    case 'p':
        options->private_dir = optarg;
        return 0;
    case 'w':
        options->worker_path = optarg;
        return 0;
    case 'd':
        options->vdev_dir = optarg;
        return 0;
    case 'r':
        return read_fd(optarg, &options->ready_fd, err);
    case 'h':
        options->wants_help = true;
        return 0;
    case 'v':
        options->wants_version = true;
        return 0;
    case 'k':
        options->wants_check = true;
        return 0;
    case 'f':
        return 0;
    case ':':
        return err_set(err, -EINVAL, "'%s' needs a value", word);
    default:
        return err_set(err, -EINVAL, "unknown option '%s'", word);
    }
}

int options_parse(int argc, char **argv, struct options *options, struct err *err)
{
    struct options found = {.ready_fd = -1};
    int r = 0;
    int c;

    opterr = 0;
    optind = 1;
    while (r == 0 && (c = getopt_long(argc, argv, "+:", table, NULL)) != -1) {
        r = take_option(&found, c, argv[optind - 1], err);
    }
    if (r == 0 && optind < argc) {
        r = err_set(err, -EINVAL, "unknown word '%s'", argv[optind]);
    }
    if (r == 0) {
        *options = found;
    }
    return r;
}

/* Paths of the command line, made absolute: qvmd's own directory does not matter later. */
static int take_path(const char *given, char **kept, const char **configured, struct err *err)
{
    if (given == NULL) {
        return 0;
    }
    if (*kept == NULL) {
        *kept = realpath(given, NULL);
    }
    if (*kept == NULL) {
        return err_sys(err, -errno, "cannot use '%s'", given);
    }
    *configured = *kept;
    return 0;
}

/* What they made of the paths above; for the whole life of the process. */
static char *worker_path, *vdev_dir;

int options_read_config(const struct options *options, struct config *config, struct err *err)
{
    auto_free char *dir = NULL;
    int r = 0;

    /* A private instance takes nothing from the system's unless it is told to. */
    if (options->config_path != NULL) {
        r = config_read(config, options->config_path, err);
    } else if (options->private_dir == NULL) {
        r = config_read(config, CONFIG_PATH, err);
        if (r == -ENOENT) {
            r = 0;
        }
    }
    if (r == 0) {
        r = take_path(options->worker_path, &worker_path, &config->qvm_path, err);
    }
    if (r == 0) {
        r = take_path(options->vdev_dir, &vdev_dir, &config->vdev_dir, err);
    }
    if (r < 0 || options->private_dir == NULL) {
        return r;
    }
    if (mkdir(options->private_dir, 0700) < 0 && errno != EEXIST) {
        return err_sys(err, -errno, "cannot make the directory '%s'", options->private_dir);
    }
    dir = realpath(options->private_dir, NULL);
    if (dir == NULL) {
        return err_sys(err, -errno, "cannot use the directory '%s'", options->private_dir);
    }
    return config_make_private(config, dir, err);
}
