/* qvm: the VMM of one guest. See qvm(8). */
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto/spawn_fds.h"
#include "qvm-worker/alone.h"
#include "qvm-worker/control/spare.h"
#include "qvm-worker/exit_status.h"
#include "qvm-worker/under.h"

static const char usage[] =
    "usage: qvm [word]... [@file]... [word]...\n"
    "A word is a word of qvmconf(5); @file stands for the words in a file.\n"
    "       qvm @web.qvmconf          runs the VM on this terminal\n"
    "       qvm @web.qvmconf dryrun   says what would be built\n"
    "       qvm set ?                 lists the variables\n"
    "       qvm --version | --help\n";

int main(int argc, char **argv)
{
    (void)mallopt(M_ARENA_MAX, 1); /* only one thread allocates much: another heap is a waste */
    if (argc < 2) {
        (void)fputs(usage, stderr);
        return EXIT_STATUS_CONFIG;
    }
    if (strcmp(argv[1], SPAWN_ARG) == 0) {
        return under_main(argc > 2 ? argv[2] : "?");
    }
    if (strcmp(argv[1], SPARE_ARG) == 0 && argc == 3) {
        const char *guest = spare_wait(argv);

        return guest != NULL ? under_main(guest) : EXIT_STATUS_BEFORE;
    }
    if (strcmp(argv[1], "--help") == 0) {
        (void)fputs(usage, stdout);
        return EXIT_STATUS_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)printf("qvm %s\n", QVM_VERSION);
        return EXIT_STATUS_OK;
    }
    if (strncmp(argv[1], "--", 2) == 0) {
        (void)fprintf(stderr, "qvm: there is no option '%s'\n%s", argv[1], usage);
        return EXIT_STATUS_CONFIG;
    }
    return alone_main((const char *const *)argv + 1, (size_t)argc - 1,
                      (const char *const *)environ);
}
