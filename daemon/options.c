#include "daemon/options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "daemon/config.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

const char options_usage[] =
    "usage: qvmd [--config FILE] [--private DIR] [--foreground]\n"
    "  --config FILE   read FILE instead of " CONFIG_PATH "\n"
    "  --private DIR   keep everything in DIR: an instance of one's own\n"
    "  --foreground    accepted for scripts; qvmd never goes to the background\n"
    "  --version       say which version this is\n"
    "  --help          say this\n";

int options_parse(int argc, char **argv, struct options *options, struct err *err)
{
    static const struct option table[] = {
        {"config", required_argument, NULL, 'c'}, {"private", required_argument, NULL, 'p'},
        {"foreground", no_argument, NULL, 'f'},   {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},      {NULL, 0, NULL, 0},
    };
    struct options found = {0};
    int c;

    opterr = 0;
    optind = 1;
    while ((c = getopt_long(argc, argv, "+:", table, NULL)) != -1) {
        if (c == 'c') {
            found.config_path = optarg;
        } else if (c == 'p') {
            found.private_dir = optarg;
        } else if (c == 'h') {
            found.wants_help = true;
        } else if (c == 'v') {
            found.wants_version = true;
        } else if (c == ':') {
            return err_set(err, -EINVAL, "'%s' needs a value", argv[optind - 1]);
        } else if (c == '?') {
            return err_set(err, -EINVAL, "unknown option '%s'", argv[optind - 1]);
        }
    }
    if (optind < argc) {
        return err_set(err, -EINVAL, "unknown word '%s'", argv[optind]);
    }
    *options = found;
    return 0;
}

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
