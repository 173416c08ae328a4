#include "daemon/worker/helper_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/worker/helper_child.h"
#include "daemon/worker/spawn_inside.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define SOCKET_NAME "helper"
#define WORDS_SIZE  4096

static const struct program {
    const char *what, *path, *package;
    const char *ready; /* it says when it serves; NULL: anything */
} programs[] = {
    [HELPER_IMAGE] = {"images in ", "/usr/bin/qemu-storage-daemon", "qemu-system-common", NULL},
    [HELPER_FOLDER] = {"folders", "/usr/lib/qemu/virtiofsd", "qemu-system-common",
                       "Received vhost-user socket connection"},
    [HELPER_NETWORK] = {"networks of users", "/usr/bin/passt", "passt", "MAC:"},
};

/* A socket that listens, and the only connection that there will ever be to it. */
static int make_sockets(int dir_fd, int *listening, int *connected, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    auto_close int ours = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    auto_close int theirs = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r = 0;

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" SOCKET_NAME,
                   dir_fd);
    if (ours < 0 || theirs < 0 ||
        bind(theirs, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        return err_sys(err, -errno, "cannot make a socket for a helper");
    }
    if (listen(theirs, 1) < 0 ||
        connect(ours, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        r = err_sys(err, -errno, "cannot make a connection to a helper");
    }
    (void)unlinkat(dir_fd, SOCKET_NAME, 0);
    if (r == 0) {
        *listening = take_fd(&theirs);
        *connected = take_fd(&ours);
    }
    return r;
}

/* For who takes a connection that is there. */
static int make_pair(int *theirs, int *ours, struct err *err)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        return err_sys(err, -errno, "cannot make a connection to a helper");
    }
    *theirs = pair[0];
    *ours = pair[1];
    return 0;
}

static int fork_child(const struct helper_request *request, const struct helper_fds *fds,
                      struct helper_born *born, struct err *err)
{
    struct spawn_birth birth = {.talk_fd = STDERR_FILENO,
                                .cgroup_fd = request->cgroup_fd,
                                .has_network = request->kind == HELPER_NETWORK};
    pid_t pid;

    birth.fds[STDERR_FILENO] = fds->words;
    pid = spawn_fork(&birth, &born->pidfd);
    if (pid == 0) {
        helper_child(request, fds);
    }
    born->pid = pid;
    return pid < 0 ? err_sys(err, pid, "cannot make a helper") : 0;
}

int helper_spawn(const struct helper_request *request, struct helper_born *born, struct err *err)
{
    const struct program *its = &programs[request->kind];
    auto_close int program = open(its->path, O_PATH | O_CLOEXEC);
    auto_close int talk = -1, talk_theirs = -1, words = -1, words_theirs = -1, listening = -1,
                   connected = -1;
    struct helper_fds fds = {.source = request->source_fd, .program = program};
    int pair[2], ends[2], r;

    if (program < 0) {
        return err_set(
            err, -ENXIO, "%s%s are served by '%s', which is not there: install the package %s",
            its->what, request->format != NULL ? request->format : "", its->path, its->package);
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        return err_sys(err, -errno, "cannot make a helper");
    }
    talk = pair[0];
    talk_theirs = pair[1];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0 || fcntl(talk, F_SETFL, O_NONBLOCK) < 0) {
        return err_sys(err, -errno, "cannot make a helper");
    }
    words = ends[0];
    words_theirs = ends[1];
    r = request->kind == HELPER_NETWORK
            ? make_pair(&listening, &connected, err)
            : make_sockets(request->dir_fd, &listening, &connected, err);
    fds.talk = talk_theirs;
    fds.words = words_theirs;
    fds.listen = listening;
    r = r == 0 ? fork_child(request, &fds, born, err) : r;
    if (r == 0) {
        born->talk_fd = take_fd(&talk);
        born->words_fd = take_fd(&words);
        born->socket_fd = take_fd(&connected);
    }
    return r;
}

int helper_let_go(const struct helper_born *born, struct err *err)
{
    return send(born->talk_fd, "\n", 1, MSG_NOSIGNAL) == 1
               ? 0
               : err_sys(err, -errno, "its helper has ended");
}

/* Its own name and the words that it was given, which the reader did not write, are left out. */
static const char *skip_preamble(const char *line)
{
    const char *colon = strchr(line, ':');
    const char *option = strstr(line, "}: ");

    if (option != NULL) {
        return option + 3;
    }
    return strncmp(line, "qemu-storage-daemon:", 20) == 0 && colon[1] == ' ' ? colon + 2 : line;
}

static void take_last_line(char *text, char *words, size_t size)
{
    size_t n = strlen(text);
    char *line;

    while (n > 0 && text[n - 1] == '\n') {
        n--;
    }
    text[n] = '\0';
    line = memrchr(text, '\n', n);
    line = line != NULL ? line + 1 : text;
    for (char *at = line; *at != '\0'; at++) {
        *at = (char)((unsigned char)*at < ' ' || (unsigned char)*at > '~' ? '?' : *at);
    }
    (void)snprintf(words, size, "%s", skip_preamble(line));
}

void helper_read_words(int words_fd, char *words, size_t size)
{
    char text[WORDS_SIZE];
    ssize_t n = words_fd >= 0 ? read(words_fd, text, sizeof(text) - 1) : -1;

    text[n > 0 ? n : 0] = '\0';
    take_last_line(text, words, size);
}

bool helper_serves(enum helper_kind kind, char *text, char *words, size_t size)
{
    const char *ready = programs[kind].ready;

    if (ready == NULL || strstr(text, ready) != NULL) {
        return true;
    }
    if (text[strspn(text, "\n")] != '\0') { /* a line may come in pieces */
        take_last_line(text, words, size);
    }
    return false;
}
