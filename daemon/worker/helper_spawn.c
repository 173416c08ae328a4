#include "daemon/worker/helper_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <linux/securebits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/worker/helper_image.h"
#include "daemon/worker/spawn.h"
#include "daemon/worker/spawn_inside.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define PROGRAM     "/usr/bin/qemu-storage-daemon"
#define IMAGE       "image" /* in its tree */
#define SOCKET_NAME "helper"
#define LISTEN_FD   3 /* in the child; 0 and 1 talk, 2 has the words */
#define IMAGE_FD    4
#define SAFE_FD     64
#define GROUPS_MAX  1024
#define WORDS_SIZE  4096
#define JSON_SIZE   256

#define SECUREBITS                                                                                 \
    (SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED |                        \
     SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED)

/* ---- in the child ---- */

static _Noreturn void fail(const char *words)
{
    (void)!write(STDERR_FILENO, words, strlen(words));
    _exit(SPAWN_EXIT_FAILED);
}

static _Noreturn void fail_at(const char *step)
{
    char text[128];

    (void)snprintf(text, sizeof(text), "%s: %s", step, strerrorname_np(errno));
    fail(text);
}

struct child_fds {
    int talk, words, listen, image, program;
};

static int out_of_the_way(int fd)
{
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, SAFE_FD);

    if (moved < 0) {
        _exit(SPAWN_EXIT_FAILED); /* nobody could be told */
    }
    return moved;
}

/* Returns the program's descriptor. All others are closed at once: while they are open here,
 * neither the end of qvmd nor that of its conversations is seen by anybody, ourselves included. */
static int place_descriptors(const struct child_fds *fds)
{
    const int moved[] = {out_of_the_way(fds->talk), out_of_the_way(fds->talk),
                         out_of_the_way(fds->words), out_of_the_way(fds->listen),
                         out_of_the_way(fds->image)};
    int program = out_of_the_way(fds->program);

    for (int i = 0; i < (int)ARRAY_LEN(moved); i++) {
        if (dup2(moved[i], i) < 0) {
            _exit(SPAWN_EXIT_FAILED);
        }
    }
    if (close_range((unsigned)ARRAY_LEN(moved), (unsigned)program - 1, 0) < 0 ||
        close_range((unsigned)program + 1, ~0u, 0) < 0) {
        fail_at("close_range");
    }
    return program;
}

/* Whom it becomes. Groups are looked up while the host's files are there. */
struct identity {
    uid_t uid;
    gid_t gid, groups[GROUPS_MAX];
    int count;
};

static void find_identity(uid_t owner, struct identity *identity)
{
    const struct passwd *user;
    struct stat st;

    if (owner == 0) { /* root's right to all files is not given away: the image's owner will do */
        if (fstat(IMAGE_FD, &st) != 0) {
            fail_at("image");
        }
        *identity = (struct identity){.uid = st.st_uid, .gid = st.st_gid};
        return;
    }
    user = getpwuid(owner);
    *identity = (struct identity){
        .uid = owner, .gid = user != NULL ? user->pw_gid : owner, .count = GROUPS_MAX};
    if (user == NULL ||
        getgrouplist(user->pw_name, user->pw_gid, identity->groups, &identity->count) < 0) {
        identity->count = 0;
    }
}

static void limit(void)
{
    const __rlimit_resource_t none[] = {RLIMIT_CORE, RLIMIT_MEMLOCK, RLIMIT_MSGQUEUE, RLIMIT_RTPRIO,
                                        RLIMIT_NICE};
    const struct rlimit zero = {0, 0};

    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        if (setrlimit(none[i], &zero) < 0) {
            fail_at("limits");
        }
    }
}

static void become(const struct identity *identity)
{
    for (int capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; capability++) {
        /* up to the last one that this kernel has */
    }
    if (prctl(PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0) < 0) {
        fail_at("securebits");
    }
    /* The library's own calls would look for other threads, of which a fork knows nothing. */
    if (syscall(SYS_setgroups, (size_t)identity->count, identity->groups) < 0 ||
        syscall(SYS_setresgid, identity->gid, identity->gid, identity->gid) < 0 ||
        syscall(SYS_setresuid, identity->uid, identity->uid, identity->uid) < 0) {
        fail_at("user");
    }
}

/* Until its row is written: who has none is never found again. If qvmd ends before, so do we. */
static void await_go(void)
{
    ssize_t n;
    char byte;

    do {
        n = read(STDIN_FILENO, &byte, 1);
    } while (n < 0 && errno == EINTR);
    if (n != 1) {
        _exit(SPAWN_EXIT_FAILED);
    }
}

/* QEMU tries on /dev/null what kind of locks this kernel has. */
static void enter_tree(const struct helper_request *request)
{
    const struct spawn_extra extras[] = {
        {.fd = IMAGE_FD, .name = IMAGE, .is_file = true, .is_writable = request->is_writable},
        {.fd = open("/dev/null", O_PATH | O_CLOEXEC),
         .parent = "dev",
         .name = "dev/null",
         .is_file = true,
         .is_device = true,
         .is_writable = true}};
    const char *step = "";
    int fd = spawn_child_tree(extras, ARRAY_LEN(extras), &step);

    if (fd < 0) {
        fail_at(step);
    }
    (void)close(fd);
}

static void run(const struct helper_request *request, const char *image, int program)
{
    static char file[JSON_SIZE], disk[JSON_SIZE], export[JSON_SIZE];
    static char name[] = "qemu-storage-daemon", blockdev[] = "--blockdev", exports[] = "--export",
                chardev[] = "--chardev", talk[] = "stdio,id=talk", monitor[] = "--monitor",
                monitors[] = "chardev=talk";
    char *const argv[] = {name,   blockdev, file, blockdev, disk,     exports,
                          export, chardev,  talk, monitor,  monitors, NULL};
    char *const environment[] = {NULL};
    bool is_qcow2 = strcmp(request->format, "qcow2") == 0;
    const char *is_read_only = request->is_writable ? "false" : "true";

    (void)snprintf(file, sizeof(file),
                   "{\"driver\":\"file\",\"node-name\":\"file\",\"filename\":\"%s\","
                   "\"discard\":\"unmap\",\"read-only\":%s}",
                   image, is_read_only);
    (void)snprintf(
        disk, sizeof(disk),
        "{\"driver\":\"%s\",\"node-name\":\"disk\",\"file\":\"file\",\"discard\":\"unmap\","
        "\"read-only\":%s%s}",
        is_qcow2                               ? "qcow2"
        : strcmp(request->format, "vhdx") == 0 ? "vhdx"
                                               : "vpc",
        is_read_only, is_qcow2 ? ",\"backing\":null" : "");
    (void)snprintf(export, sizeof(export),
                   "vhost-user-blk,id=disk,node-name=disk,addr.type=fd,addr.str=%d,writable=%s",
                   LISTEN_FD, request->is_writable ? "on" : "off");
    (void)execveat(program, "", argv, environment, AT_EMPTY_PATH);
    fail_at("execveat");
}

static _Noreturn void child(const struct helper_request *request, const struct child_fds *fds)
{
    static struct identity identity;
    char path[32] = "/" IMAGE;
    struct err err = {0};
    int program = place_descriptors(fds);

    spawn_child_reset_signals();
    (void)signal(SIGPIPE, SIG_IGN); /* nobody may be left to hear its complaints */
    await_go();
    find_identity(request->owner, &identity);
    (void)umask(0);
    if (setsid() < 0 || chdir("/") < 0) {
        fail_at("session");
    }
    if (spawn_has_namespaces()) {
        enter_tree(request);
    } else {
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", IMAGE_FD);
    }
    (void)umask(077);
    limit();
    if (geteuid() == 0) {
        become(&identity);
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        fail_at("prctl");
    }
    if (helper_image_check(IMAGE_FD, request->format, &err) != 0) {
        fail(err.msg);
    }
    if (spawn_has_namespaces()) {
        (void)close(IMAGE_FD); /* it opens it by its path */
    }
    run(request, path, program);
    _exit(SPAWN_EXIT_FAILED);
}

/* ---- in qvmd ---- */

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

static int fork_child(const struct helper_request *request, const struct child_fds *fds,
                      struct helper_born *born, struct err *err)
{
    struct spawn_birth birth = {.talk_fd = STDERR_FILENO, .cgroup_fd = request->cgroup_fd};
    pid_t pid;

    birth.fds[STDERR_FILENO] = fds->words;
    pid = spawn_fork(&birth, &born->pidfd);
    if (pid == 0) {
        child(request, fds);
    }
    born->pid = pid;
    return pid < 0 ? err_sys(err, pid, "cannot make a helper") : 0;
}

int helper_spawn(const struct helper_request *request, struct helper_born *born, struct err *err)
{
    auto_close int program = open(PROGRAM, O_PATH | O_CLOEXEC);
    auto_close int talk = -1, talk_theirs = -1, words = -1, words_theirs = -1, listening = -1,
                   connected = -1;
    struct child_fds fds = {.image = request->image_fd, .program = program};
    int pair[2], ends[2], r;

    if (program < 0) {
        return err_set(err, -ENXIO,
                       "images in %s are served by '" PROGRAM "', which is not there: install the "
                       "package qemu-system-common",
                       request->format);
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
    r = make_sockets(request->dir_fd, &listening, &connected, err);
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

void helper_read_words(int words_fd, char *words, size_t size)
{
    char text[WORDS_SIZE], *line;
    ssize_t n = words_fd >= 0 ? read(words_fd, text, sizeof(text) - 1) : -1;

    words[0] = '\0';
    if (n <= 0) {
        return;
    }
    while (n > 0 && text[n - 1] == '\n') {
        n--;
    }
    text[n] = '\0';
    line = memrchr(text, '\n', (size_t)n);
    line = line != NULL ? line + 1 : text;
    for (char *at = line; *at != '\0'; at++) {
        *at = (char)((unsigned char)*at < ' ' || (unsigned char)*at > '~' ? '?' : *at);
    }
    (void)snprintf(words, size, "%s", skip_preamble(line));
}
