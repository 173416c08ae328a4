/* The holder, and what happens to a group in it. */
#include "daemon/cgroup/cgroup.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#include "daemon/cgroup/inside.h"
#include "daemon/crash_point.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"

#define FILE_SIZE       1024 /* of the files that are read here: lists of words */
#define PROCS_SIZE      4096 /* bytes of a list of processes that are read at once */
#define PROCS_READS_MAX 1000 /* who forks as fast as he is moved is not followed for ever */

/* The processes that the holder itself was born with live here: a group that has processes of its
 * own cannot give controllers to the groups below. A unit of systemd's does that by itself, and
 * then makes this group: such a holder is left alone until it is there. */
#define HOLD_GROUP "hold"

static const struct {
    const char *name, *enforces;
} controllers[] = {
    {"memory", "the memory limit of each instance"},
    {"pids", "the limit of processes of each instance"},
    {"cpu", "the share of CPU time of each instance"},
    {"cpuset", "that instances keep off CPUs which are not theirs"},
    {"hugetlb", "the limit of huge pages of each instance"},
};

/* ---- the files of a group ---- */

int cgroup_file_read(int fd, const char *name, char *text, size_t size)
{
    auto_close int file = openat(fd, name, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    text[0] = '\0';
    if (file < 0) {
        return -errno;
    }
    n = read(file, text, size - 1);
    if (n < 0) {
        return -errno;
    }
    text[n] = '\0';
    return 0;
}

int cgroup_file_write(int fd, const char *name, const char *text)
{
    auto_close int file = openat(fd, name, O_WRONLY | O_CLOEXEC);

    if (file < 0) {
        return -errno;
    }
    return write(file, text, strlen(text)) < 0 ? -errno : 0;
}

int cgroup_has_word(const char *list, const char *word)
{
    size_t size = strlen(word);

    for (const char *at = strstr(list, word); at != NULL; at = strstr(at + size, word)) {
        if ((at == list || isspace((unsigned char)at[-1])) &&
            (at[size] == '\0' || isspace((unsigned char)at[size]))) {
            return 1;
        }
    }
    return 0;
}

/* ---- the holder ---- */

/* Move the processes of the list, up to its last whole line. One that has just ended is in nobody's
 * way. Returns how many lines there were. */
static int move_listed(char *list, int to_fd)
{
    char *end = strrchr(list, '\n'), *rest = NULL;
    int count = 0;

    if (end == NULL) {
        return 0;
    }
    *end = '\0'; /* behind it there may be half a number */
    for (const char *pid = strtok_r(list, "\n", &rest); pid != NULL;
         pid = strtok_r(NULL, "\n", &rest)) {
        int r = cgroup_file_write(to_fd, "cgroup.procs", pid);

        if (r < 0 && r != -ESRCH) {
            return r;
        }
        count++;
    }
    return count;
}

/* Put the processes of the holder itself into a group of their own: those that are moved leave the
 * list, and others come forward. */
static int move_out(int holder_fd)
{
    char list[PROCS_SIZE];
    auto_close int fd = -1;
    int r = 1;

    if (mkdirat(holder_fd, HOLD_GROUP, 0755) < 0 && errno != EEXIST) {
        return -errno;
    }
    fd = openat(holder_fd, HOLD_GROUP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    for (int i = 0; r > 0 && i < PROCS_READS_MAX; i++) {
        r = cgroup_file_read(holder_fd, "cgroup.procs", list, sizeof(list));
        r = r < 0 ? r : move_listed(list, fd);
    }
    return r < 0 ? r : 0;
}

/* Let the groups below have what they need; what cannot be had is missing from then on. */
static void enable(struct cgroups *cgroups)
{
    char offered[FILE_SIZE], given[FILE_SIZE], word[32];

    (void)cgroup_file_read(cgroups->fd, "cgroup.controllers", offered, sizeof(offered));
    (void)cgroup_file_read(cgroups->fd, "cgroup.subtree_control", given, sizeof(given));
    for (size_t i = 0; i < ARRAY_LEN(controllers); i++) {
        const char *name = controllers[i].name;
        int r = cgroup_has_word(given, name) ? 0 : -ENOENT;

        (void)snprintf(word, sizeof(word), "+%s", name);
        if (r < 0 && cgroup_has_word(offered, name)) {
            r = cgroup_file_write(cgroups->fd, "cgroup.subtree_control", word);
            if (r == -EBUSY && move_out(cgroups->fd) == 0) {
                r = cgroup_file_write(cgroups->fd, "cgroup.subtree_control", word);
            }
        }
        if (r == 0) {
            cgroups->controllers |= 1u << i;
        } else if (i != CONTROLLER_hugetlb) {
            log_warn("cgroup: not divided controller=%s group=%s why=\"%s\"", name, cgroups->path,
                     strerror(-r));
        }
    }
}

/* An option of the mount: cgroup-v2.rst, "memory_hugetlb_accounting". */
static bool does_count_huge(void)
{
    FILE *mounts = fopen("/proc/self/mounts", "re");
    char line[FILE_SIZE];
    bool does = false;

    while (mounts != NULL && !does && fgets(line, sizeof(line), mounts) != NULL) {
        does = strstr(line, "memory_hugetlb_accounting") != NULL;
    }
    if (mounts != NULL) {
        (void)fclose(mounts); /* it was only read */
    }
    return does;
}

static bool is_delegated(int fd)
{
    static const char *const names[] = {"trusted.delegate", "user.delegate"};
    char value[8];

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (fgetxattr(fd, names[i], value, sizeof(value)) == 1 && value[0] == '1') {
            return true;
        }
    }
    return false;
}

static int open_holder(struct cgroups *cgroups, struct err *err)
{
    auto_close int fd = open(cgroups->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct statfs about;
    struct stat hold = {0};

    if (fd < 0) {
        return err_sys(err, -errno, "no control group '%s'", cgroups->path);
    }
    if (fstatfs(fd, &about) < 0 || about.f_type != CGROUP2_SUPER_MAGIC) {
        return err_set(err, -EINVAL, "'%s' is no control group of version 2", cgroups->path);
    }
    if (cgroups->is_auto && !is_delegated(fd)) {
        return err_set(err, -EPERM, "the control group '%s' is not delegated", cgroups->path);
    }
    if (cgroups->is_auto && fstatat(fd, HOLD_GROUP, &hold, 0) < 0) {
        return err_set(err, -EAGAIN, "qvm-guests.service is still starting");
    }
    cgroups->fd = take_fd(&fd);
    cgroups->hold = hold.st_ino;
    cgroups->controllers = 0;
    cgroups->counts_huge = does_count_huge();
    enable(cgroups);
    log_info("cgroup: instances get groups below %s%s%s%s%s", cgroups->path,
             cgroups->controllers & 1u << CONTROLLER_memory ? " memory" : "",
             cgroups->controllers & 1u << CONTROLLER_pids ? " pids" : "",
             cgroups->controllers & 1u << CONTROLLER_cpu ? " cpu" : "",
             cgroups->controllers & 1u << CONTROLLER_cpuset ? " cpuset" : "");
    return 0;
}

/* Why there is no holder, for somebody who would like to have one. */
static void explain(struct cgroups *cgroups, const struct err *err)
{
    struct statfs about;

    if (err->code != -ENOENT) {
        (void)snprintf(cgroups->why, sizeof(cgroups->why), "%.150s", err->msg);
    } else if (statfs(CGROUP_ROOT, &about) < 0 || about.f_type != CGROUP2_SUPER_MAGIC) {
        (void)snprintf(cgroups->why, sizeof(cgroups->why), CGROUP_ROOT " is not version 2");
    } else {
        (void)snprintf(cgroups->why, sizeof(cgroups->why), "qvm-guests.service is not started");
    }
}

/* Whether the holder is what it was when it was opened. The group of a unit that was stopped may
 * stay, for a process that does not go: then the next start makes HOLD_GROUP anew. */
static bool is_same_holder(const struct cgroups *cgroups)
{
    struct stat hold;

    return cgroups->fd >= 0 &&
           (cgroups->is_auto
                ? fstatat(cgroups->fd, HOLD_GROUP, &hold, 0) == 0 && hold.st_ino == cgroups->hold
                : faccessat(cgroups->fd, "cgroup.procs", F_OK, 0) == 0);
}

/* Have the holder open if it is there, also after it has gone and come back. */
static void find_holder(struct cgroups *cgroups)
{
    struct err err = {0};

    if (cgroups->path == NULL || is_same_holder(cgroups)) {
        return;
    }
    cleanup_close(&cgroups->fd);
    if (open_holder(cgroups, &err) < 0) {
        explain(cgroups, &err);
    }
}

bool cgroups_has_holder(struct cgroups *cgroups)
{
    find_holder(cgroups);
    return cgroups->fd >= 0;
}

/* One that the configuration names: made if it is missing, and then it has to do. */
static int make_holder(struct cgroups *cgroups, struct err *err)
{
    bool is_new = mkdir(cgroups->path, 0755) == 0;
    int r;

    if (!is_new && errno != EEXIST) {
        return err_sys(err, -errno, "cannot make the control group '%s'", cgroups->path);
    }
    r = open_holder(cgroups, err);
    if (r < 0 && is_new) {
        (void)rmdir(cgroups->path); /* as if we had never tried */
    }
    return r;
}

int cgroups_create(const char *setting, struct cgroups **result, struct err *err)
{
    struct cgroups *cgroups = calloc(1, sizeof(*cgroups));
    int r = 0;

    if (cgroups == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    cgroups->fd = -1;
    cgroups->is_auto = strcmp(setting, CGROUP_AUTO) == 0;
    (void)snprintf(cgroups->why, sizeof(cgroups->why), "the option 'cgroup' is '%s'", setting);
    if (strcmp(setting, CGROUP_NONE) != 0) {
        cgroups->path = strdup(cgroups->is_auto ? CGROUP_HOLDER : setting);
        if (cgroups->path == NULL) {
            r = err_set(err, -ENOMEM, "out of memory");
        }
    }
    if (r == 0 && cgroups->is_auto) {
        find_holder(cgroups);
    } else if (r == 0 && cgroups->path != NULL) {
        r = make_holder(cgroups, err);
    }
    if (r < 0) {
        cgroups_destroy(cgroups);
        return r;
    }
    *result = cgroups;
    return 0;
}

void cgroups_destroy(struct cgroups *cgroups)
{
    if (cgroups != NULL) {
        cleanup_close(&cgroups->fd);
        free(cgroups->path);
        free(cgroups);
    }
}

int cgroups_lacks(struct cgroups *cgroups, bool has_huge, char (*lacks)[CGROUP_LACK_SIZE], int most)
{
    size_t last = has_huge ? CONTROLLER_hugetlb : CONTROLLER_cpuset;
    int count = 0;

    find_holder(cgroups);
    for (size_t i = 0; i <= last && count < most; i++) {
        if (cgroups->fd < 0) {
            (void)snprintf(lacks[count++], CGROUP_LACK_SIZE, "%s: no control groups, %s",
                           controllers[i].enforces, cgroups->why);
        } else if ((cgroups->controllers & 1u << i) == 0) {
            (void)snprintf(lacks[count++], CGROUP_LACK_SIZE,
                           "%s: the control group '%.120s' has no controller '%s'",
                           controllers[i].enforces, cgroups->path, controllers[i].name);
        }
    }
    return count;
}

/* ---- the group of an instance ---- */

int cgroup_make(struct cgroups *cgroups, const char *name, int *result, struct err *err)
{
    auto_close int fd = -1;
    int r;

    *result = -1;
    find_holder(cgroups);
    if (cgroups->fd < 0) {
        return 0;
    }
    if (mkdirat(cgroups->fd, name, 0755) < 0 &&
        (errno != EEXIST || unlinkat(cgroups->fd, name, AT_REMOVEDIR) < 0 ||
         mkdirat(cgroups->fd, name, 0755) < 0)) { /* one that is left, with other limits */
        return err_sys(err, -errno, "cannot make the control group '%s/%s'", cgroups->path, name);
    }
    crash_point("control group made");
    fd = cgroup_open(cgroups, name);
    r = fd < 0 ? err_sys(err, -errno, "cannot open the control group '%s'", name)
               : cgroup_set_first_limits(cgroups, fd, err);
    if (r < 0) {
        (void)cgroup_remove(cgroups, name, NULL); /* it is empty */
        return r;
    }
    *result = take_fd(&fd);
    return 0;
}

int cgroup_enter(int fd)
{
    return cgroup_file_write(fd, "cgroup.procs", "0");
}

int cgroup_open(const struct cgroups *cgroups, const char *name)
{
    return cgroups->fd < 0
               ? -1
               : openat(cgroups->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

bool cgroup_is_there(int fd)
{
    return fd >= 0 && faccessat(fd, "cgroup.procs", F_OK, 0) == 0;
}

void cgroup_kill(int fd)
{
    if (fd >= 0) {
        (void)cgroup_file_write(fd, "cgroup.kill", "1"); /* Linux 5.14 has it; a second way only */
    }
}

int cgroup_remove(const struct cgroups *cgroups, const char *name, struct err *err)
{
    if (cgroups->fd < 0 || unlinkat(cgroups->fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT ||
        errno == ENODEV) {
        return 0;
    }
    return err_sys(err, -errno, "cannot remove the control group '%s/%s'", cgroups->path, name);
}

/* `qvm.UID`, `NAME.INSTANCE`; nothing else is ever touched. */
static bool is_instance_name(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot != NULL && isalpha((unsigned char)name[0]) && dot[1] != '\0' &&
           strspn(dot + 1, "0123456789") == strlen(dot + 1);
}

int cgroup_sweep(const struct cgroups *cgroups, int (*is_needed)(void *context, const char *name),
                 void *context)
{
    int fd = cgroups->fd < 0 ? -1 : openat(cgroups->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    int held = 0;

    if (dir == NULL) {
        cleanup_close(&fd);
        return 0;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_type == DT_DIR && is_instance_name(entry->d_name) &&
            !is_needed(context, entry->d_name)) {
            held += cgroup_remove(cgroups, entry->d_name, NULL) == -EBUSY;
        }
    }
    (void)closedir(dir); /* only read from */
    return held;
}
