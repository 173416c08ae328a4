/* qvmctl check: let the caller's own qvm read a configuration and start nothing. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/files.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define QVM_ENV "QVM_QVM"

static const char *qvm_path;

static const struct option_row options[] = {
    {"qvm", 0, OPTION_TEXT, {.text = &qvm_path}, "PATH", "the qvm that reads it ($" QVM_ENV ")"},
    {0},
};

/* --qvm, $QVM_QVM, the one installed beside this qvmctl, the one of the installed prefix. */
static const char *find_qvm(char beside[PATH_MAX])
{
    const char *named = qvm_path != NULL ? qvm_path : getenv(QVM_ENV);
    ssize_t size = readlink("/proc/self/exe", beside, PATH_MAX - 1);
    const char tail[] = "/../libexec/qvm/qvm";
    char *slash;

    if (named != NULL && *named != '\0') {
        return named;
    }
    beside[size > 0 ? size : 0] = '\0';
    slash = strrchr(beside, '/');
    if (slash != NULL && (size_t)(slash - beside) + sizeof(tail) <= PATH_MAX) {
        memcpy(slash, tail, sizeof(tail));
        if (access(beside, X_OK) == 0) {
            return beside;
        }
    }
    return QVM_LIBEXECDIR "/qvm";
}

/* Wait for the process; after the time given it is ended. Returns our exit status. */
static int await(const struct cli *cli, pid_t pid)
{
    auto_close int pidfd = pidfd_open(pid, 0);
    struct pollfd pollfd = {.fd = pidfd, .events = POLLIN};
    int limit = cli->timeout_ms != 0 ? (int)cli->timeout_ms : -1; /* at most a day */
    struct err err;
    int status, r = 1;

    while (limit >= 0 && pidfd >= 0 && (r = poll(&pollfd, 1, limit)) < 0 && errno == EINTR) {
    }
    if (r == 0) {
        (void)kill(pid, SIGKILL); /* our own child, not waited for yet */
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (r == 0) {
        (void)err_set(&err, -ETIMEDOUT, "qvm did not end within %g s", (double)limit / 1000);
        return cli_fail(&err);
    }
    if (WIFSIGNALED(status)) {
        (void)err_set(&err, -EIO, "qvm was ended by signal %d", WTERMSIG(status));
        return cli_fail(&err);
    }
    return WEXITSTATUS(status) == 0 ? STATUS_OK : STATUS_FAILED; /* qvm has said why */
}

static int check_one(const struct cli *cli, int argc, char **argv)
{
    auto_free char **arguments = calloc((size_t)argc + 3, sizeof(*arguments));
    auto_free char *file = NULL;
    char beside[PATH_MAX], name[] = "qvm", last[] = "dryrun";
    const char *path = find_qvm(beside);
    struct err err = {.code = -ENOMEM, .msg = "out of memory"};
    pid_t pid;
    int r;

    if (arguments == NULL || asprintf(&file, "%s%s", argv[0][0] == '@' ? "" : "@", argv[0]) < 0) {
        return cli_fail(&err);
    }
    arguments[0] = name;
    arguments[1] = file;
    for (int i = 1; i < argc; i++) {
        arguments[1 + i] = argv[i];
    }
    arguments[1 + argc] = last;
    r = posix_spawn(&pid, path, NULL, NULL, arguments, environ);
    if (r != 0) {
        (void)err_set(&err, -EIO, "'%s' cannot be run: %s; name qvm by --qvm or $" QVM_ENV, path,
                      strerrordesc_np(r));
        return cli_fail(&err);
    }
    return await(cli, pid);
}

static int run(const struct cli *cli, int argc, char **argv)
{
    int failed = 0;

    if (!files_are_meant(argv, argc)) {
        return check_one(cli, argc, argv);
    }
    for (int i = 0; i < argc; i++) {
        int status = check_one(cli, 1, &argv[i]);

        if (status == STATUS_TIMEOUT) {
            return status;
        }
        failed += status != STATUS_OK;
    }
    return failed == 0 ? STATUS_OK : STATUS_SOME_FAILED;
}

const struct command command_check = {
    .name = "check",
    .synopsis = "[--qvm PATH] FILE [WORD ...] | FILE ...",
    .help = "read configurations as qvm would, and start nothing",
    .options = options,
    .least = 1,
    .most = -1,
    .formats = FORMATS_TABLE,
    .run = run,
};
