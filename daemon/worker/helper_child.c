/* In a helper's child, from its fork to the program. Nothing here returns. */
#include "daemon/worker/helper_child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <linux/securebits.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/worker/helper_image.h"
#include "daemon/worker/helper_spawn.h"
#include "daemon/worker/spawn.h"
#include "daemon/worker/spawn_inside.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define LISTEN_FD  3 /* 0 and 1 talk, 2 has the words */
#define SOURCE_FD  4
#define NOBODY     65534 /* as Debian has it */
#define SAFE_FD    64
#define GROUPS_MAX 1024
#define JSON_SIZE  256

#define SECUREBITS                                                                                 \
    (SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED |                        \
     SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED)

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
static int place_descriptors(const struct helper_fds *fds)
{
    /* who has no source gets another of its connection, and closes it */
    const int moved[] = {out_of_the_way(fds->talk), out_of_the_way(fds->talk),
                         out_of_the_way(fds->words), out_of_the_way(fds->listen),
                         out_of_the_way(fds->source >= 0 ? fds->source : fds->listen)};
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

static void find_identity(const struct helper_request *request, struct identity *identity)
{
    const struct passwd *user;
    uid_t owner = request->owner;
    struct stat st;

    if (owner == 0 && request->kind == HELPER_NETWORK) {
        *identity = (struct identity){.uid = NOBODY, .gid = NOBODY};
        return;
    }
    if (owner == 0) { /* root's right to all files is not given away: the file's owner will do */
        if (fstat(SOURCE_FD, &st) != 0) {
            fail_at("owner");
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

/* In its tree: the image or the folder. */
static const char *source_name(enum helper_kind kind)
{
    static const char *const names[] = {
        [HELPER_IMAGE] = "image", [HELPER_FOLDER] = "folder", [HELPER_NETWORK] = "tmp"};

    return names[kind];
}

/* What it has there besides. QEMU tries on /dev/null what kind of locks this kernel has. virtiofsd
 * reads in /proc how many files there may be, and finds its own descriptors again there, and passt
 * itself. That tells its guest of the host's resolvers, too, and then mounts an empty file system
 * over /tmp as its root. */
static void enter_tree(const struct helper_request *request)
{
    struct spawn_extra extras[SPAWN_EXTRAS_MAX] = {{.fd = request->source_fd >= 0 ? SOURCE_FD : -1,
                                                    .name = source_name(request->kind),
                                                    .is_file = request->kind == HELPER_IMAGE,
                                                    .is_writable = request->is_writable},
                                                   {.name = "proc", .is_proc = true}};
    size_t count = 2;
    const char *step = "";
    int fd;

    if (request->kind == HELPER_IMAGE) {
        extras[1] = (struct spawn_extra){.fd = open("/dev/null", O_PATH | O_CLOEXEC),
                                         .parent = "dev",
                                         .name = "dev/null",
                                         .is_file = true,
                                         .is_device = true,
                                         .is_writable = true};
    } else if (request->kind == HELPER_NETWORK) {
        extras[2] = (struct spawn_extra){.fd = open("/etc/resolv.conf", O_PATH | O_CLOEXEC),
                                         .name = "etc/resolv.conf",
                                         .is_file = true};
        count += extras[2].fd >= 0; /* not each host has resolvers */
    }
    fd = spawn_child_tree(extras, count, &step);
    if (fd < 0) {
        fail_at(step);
    }
    (void)close_range(SOURCE_FD + 1, ~0u, CLOSE_RANGE_CLOEXEC);
}

/* ---- the programs ---- */

static void run(int program, char *const argv[])
{
    char *const environment[] = {NULL};

    (void)execveat(program, "", argv, environment, AT_EMPTY_PATH);
    fail_at("execveat");
}

static void run_for_image(const struct helper_request *request, const char *image, int program)
{
    static char file[JSON_SIZE], disk[JSON_SIZE], export[JSON_SIZE];
    static char name[] = "qemu-storage-daemon", blockdev[] = "--blockdev", exports[] = "--export",
                chardev[] = "--chardev", talk[] = "stdio,id=talk", monitor[] = "--monitor",
                monitors[] = "chardev=talk";
    char *const argv[] = {name,   blockdev, file, blockdev, disk,     exports,
                          export, chardev,  talk, monitor,  monitors, NULL};
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
    run(program, argv);
}

static void write_map(const char *path, const char *text)
{
    auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);
    size_t size = strlen(text);

    if (fd < 0 || write(fd, text, size) != (ssize_t)size) {
        if (errno == EPERM && geteuid() == 0) { /* Linux 5.12 and later: verify_root_map() */
            fail("it is root's, and the host's root is only for who has the right CAP_SETFCAP: "
                 "qvmd(8) says who gives it");
        }
        fail_at(path);
    }
}

/* Where it is root: it has every right there to what belongs to the one user that is known there,
 * whom we are already, and none to anything else. virtiofsd does not run with less. */
static void become_root_of_own(void)
{
    char map[64];
    uid_t uid = geteuid();
    gid_t gid = getegid();

    /* Otherwise its files in /proc are root's; the program is dumpable in any case. */
    if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0 || unshare(CLONE_NEWUSER) < 0) {
        fail("it may have no user namespace: qvmd(8) says who has to permit that");
    }
    write_map("/proc/self/setgroups", "deny");
    (void)snprintf(map, sizeof(map), "0 %u 1", uid);
    write_map("/proc/self/uid_map", map);
    (void)snprintf(map, sizeof(map), "0 %u 1", gid);
    write_map("/proc/self/gid_map", map);
}

/* It says on its standard error when it serves, so that is where it talks. Its own sandbox is to
 * make the folder its root, and to have few calls and capabilities. */
static void run_for_folder(const char *folder, int program)
{
    static char source[64];
    static char name[] = "virtiofsd", foreground[] = "-f", fd[32], option[] = "-o",
                sandbox[] = "sandbox=chroot", files[] = "--rlimit-nofile=0";
    char *const argv[] = {name, foreground, fd, option, source, option, sandbox, files, NULL};

    (void)snprintf(source, sizeof(source), "source=%s", folder);
    (void)snprintf(fd, sizeof(fd), "--fd=%d", LISTEN_FD);
    if (dup2(STDOUT_FILENO, STDERR_FILENO) < 0) {
        fail_at("descriptors");
    }
    run(program, argv);
}

/* It is told of its connection, and says on its standard error what it found of the network. */
static void run_for_network(const struct helper_request *request, int program)
{
    static char name[] = "passt", foreground[] = "-f", option[] = "-F", fd[16];
    static char no_host[] = "--no-map-gw";
    char *const argv[] = {name, foreground, option, fd, request->reaches_host ? NULL : no_host,
                          NULL};

    (void)snprintf(fd, sizeof(fd), "%d", LISTEN_FD);
    if (dup2(STDOUT_FILENO, STDERR_FILENO) < 0) {
        fail_at("descriptors");
    }
    run(program, argv);
}

/* ---- all of it ---- */

static void become_program(const struct helper_request *request, int program)
{
    char path[32];
    struct err err = {0};

    if (spawn_has_namespaces()) {
        (void)snprintf(path, sizeof(path), "/%s", source_name(request->kind));
    } else {
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d%s", SOURCE_FD,
                       request->kind == HELPER_FOLDER ? "/." : ""); /* it takes no link */
    }
    if (request->kind == HELPER_FOLDER && !request->is_writable && !spawn_has_namespaces()) {
        fail("only a qvmd that gives guests namespaces, as root's does, can keep it from being "
             "written");
    }
    if (request->kind == HELPER_FOLDER) {
        become_root_of_own();
    } else if (request->kind == HELPER_IMAGE &&
               helper_image_check(SOURCE_FD, request->format, &err) != 0) {
        fail(err.msg);
    }
    if (spawn_has_namespaces() || request->kind == HELPER_NETWORK) {
        (void)close(SOURCE_FD); /* it opens it by its path */
    }
    switch (request->kind) {
    case HELPER_IMAGE:
        run_for_image(request, path, program);
        break;
    case HELPER_FOLDER:
        run_for_folder(path, program);
        break;
    case HELPER_NETWORK:
        run_for_network(request, program);
        break;
    }
}

void helper_child(const struct helper_request *request, const struct helper_fds *fds)
{
    static struct identity identity;
    int program = place_descriptors(fds);

    spawn_child_reset_signals();
    (void)signal(SIGPIPE, SIG_IGN); /* nobody may be left to hear its complaints */
    await_go();
    find_identity(request, &identity);
    (void)umask(0);
    if (setsid() < 0 || chdir("/") < 0) {
        fail_at("session");
    }
    if (spawn_has_namespaces()) {
        enter_tree(request);
    }
    (void)umask(077);
    limit();
    if (geteuid() == 0) {
        become(&identity);
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        fail_at("prctl");
    }
    become_program(request, program);
    _exit(SPAWN_EXIT_FAILED);
}
