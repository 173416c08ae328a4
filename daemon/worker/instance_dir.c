#include "daemon/worker/instance_dir.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "daemon/crash_point.h"
#include "daemon/worker/worker_proc.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/msg.h"

static const char *const entries[] = {WORKER_SOCKET,          INSTANCE_EXIT_FILE,
                                      INSTANCE_IDENTITY_FILE, INSTANCE_IDENTITY_NEW,
                                      INSTANCE_CONSOLE_FILE,  INSTANCE_KEPT_FILE};

char *instance_dir_name(const char *guest, int64_t instance, char text[INSTANCE_DIR_NAME_SIZE])
{
    (void)snprintf(text, INSTANCE_DIR_NAME_SIZE, "%s.%" PRId64, guest, instance);
    return text;
}

static int open_dir(int guests_fd, const char *name, int *dir_fd, struct err *err)
{
    int fd = openat(guests_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0) {
        return err_sys(err, -errno, "cannot open the instance's directory '%s'", name);
    }
    *dir_fd = fd;
    return 0;
}

static int remove_dir(int guests_fd, const char *name)
{
    auto_close int dir_fd = -1;
    int r = open_dir(guests_fd, name, &dir_fd, NULL);

    if (r == -ENOENT) {
        return 0;
    }
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(entries); i++) {
        if (unlinkat(dir_fd, entries[i], 0) < 0 && errno != ENOENT) {
            r = -errno;
        }
        crash_point("file of the instance removed");
    }
    if (r == 0 && unlinkat(guests_fd, name, AT_REMOVEDIR) < 0) {
        r = -errno;
    }
    crash_point("directory of the instance removed");
    return r;
}

int instance_dir_make(int guests_fd, const char *guest, int64_t instance, int *dir_fd,
                      struct err *err)
{
    char name[INSTANCE_DIR_NAME_SIZE];

    (void)instance_dir_name(guest, instance, name);
    if (mkdirat(guests_fd, name, 0700) < 0) {
        return err_sys(err, -errno, "cannot make the instance's directory '%s'", name);
    }
    crash_point("directory of the instance made");
    return open_dir(guests_fd, name, dir_fd, err);
}

int instance_dir_open(int guests_fd, const char *guest, int64_t instance, int *dir_fd,
                      struct err *err)
{
    char name[INSTANCE_DIR_NAME_SIZE];

    return open_dir(guests_fd, instance_dir_name(guest, instance, name), dir_fd, err);
}

int instance_dir_set_kept(int dir_fd, struct err *err)
{
    auto_close int fd = openat(dir_fd, INSTANCE_KEPT_FILE, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    crash_point("kept files noted");
    return fd >= 0 ? 0 : err_sys(err, -errno, "cannot note what files the instance has");
}

bool instance_dir_is_kept(int dir_fd)
{
    return faccessat(dir_fd, INSTANCE_KEPT_FILE, F_OK, 0) == 0;
}

int instance_dir_remove(int guests_fd, const char *guest, int64_t instance, struct err *err)
{
    char name[INSTANCE_DIR_NAME_SIZE];
    int r = remove_dir(guests_fd, instance_dir_name(guest, instance, name));

    return r < 0 ? err_sys(err, r, "cannot remove the instance's directory '%s'", name) : 0;
}

/* Whether it is `NAME.INSTANCE`; nothing else is ever touched. */
static int is_instance_name(const char *name)
{
    const char *dot = strrchr(name, '.');

    if (dot == NULL || !isalpha((unsigned char)name[0]) || dot[1] == '\0') {
        return 0;
    }
    return strspn(dot + 1, "0123456789") == strlen(dot + 1);
}

static DIR *open_all(int guests_fd)
{
    int fd = openat(guests_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

    if (dir == NULL) {
        cleanup_close(&fd);
    }
    return dir;
}

void instance_dir_sweep(int guests_fd, int (*is_needed)(void *context, const char *dir_name),
                        void *context)
{
    DIR *dir = open_all(guests_fd);
    const struct dirent *entry;

    if (dir == NULL) {
        return; /* swept at the next start */
    }
    while ((entry = readdir(dir)) != NULL) {
        if (is_instance_name(entry->d_name) && !is_needed(context, entry->d_name)) {
            (void)remove_dir(guests_fd, entry->d_name); /* what stays is swept at the next start */
        }
    }
    (void)closedir(dir); /* only read from */
}

/* A connection that is made proves that the socket's owner lives, whatever it is doing; so does a
 * full backlog. Nobody listens at the socket of a process that is gone. */
bool instance_dir_is_alive(int guests_fd, const char *dir_name, pid_t *pid)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    auto_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    auto_close int dir_fd = -1;
    struct ucred peer;
    socklen_t size = sizeof(peer);

    *pid = 0;
    if (fd < 0 || open_dir(guests_fd, dir_name, &dir_fd, NULL) < 0) {
        return false;
    }
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" WORKER_SOCKET,
                   dir_fd);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        return errno == EAGAIN;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0) {
        *pid = peer.pid;
    }
    return true;
}

bool instance_dir_find_alive(int guests_fd, const char *guest, pid_t *pid)
{
    size_t size = strlen(guest);
    DIR *dir = open_all(guests_fd);
    const struct dirent *entry;
    bool is_found = false;

    while (dir != NULL && !is_found && (entry = readdir(dir)) != NULL) {
        is_found = is_instance_name(entry->d_name) && strncmp(entry->d_name, guest, size) == 0 &&
                   strrchr(entry->d_name, '.') == entry->d_name + size &&
                   instance_dir_is_alive(guests_fd, entry->d_name, pid);
    }
    if (dir != NULL) {
        (void)closedir(dir); /* only read from */
    }
    return is_found;
}

int instance_dir_read_exit(int dir_fd, struct msg_ending *ending, struct err *err)
{
    char text[INSTANCE_EXIT_MAX + 1];
    auto_close int fd =
        openat(dir_fd, INSTANCE_EXIT_FILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    ssize_t size;

    if (fd < 0) {
        return err_sys(err, -errno, "no exit record");
    }
    size = pread(fd, text, sizeof(text), 0);
    if (size < 0) {
        return err_sys(err, -errno, "cannot read the exit record");
    }
    if ((size_t)size <= INSTANCE_EXIT_MAX) {
        size = (ssize_t)strnlen(text, (size_t)size); /* of a place that was not written to */
    }
    if (size == 0) {
        return err_set(err, -ENOENT, "the exit record is empty");
    }
    if ((size_t)size > INSTANCE_EXIT_MAX) {
        return err_set(err, -EINVAL, "the exit record is longer than %u bytes", INSTANCE_EXIT_MAX);
    }
    return msg_decode(MSG_ending, text, (size_t)size, false, ending, err);
}

bool instance_dir_bound_exit(int dir_fd)
{
    auto_close int fd =
        openat(dir_fd, INSTANCE_EXIT_FILE, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat status;

    return fd >= 0 && fstat(fd, &status) == 0 && status.st_size > (off_t)INSTANCE_EXIT_MAX &&
           ftruncate(fd, 0) == 0;
}

int instance_dir_write_console(int dir_fd, uint64_t offset, uint64_t end)
{
    auto_close int fd = openat(dir_fd, INSTANCE_CONSOLE_FILE, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    char text[48];
    int size = snprintf(text, sizeof(text), "%020" PRIu64 " %020" PRIu64 "\n", offset, end);

    return fd >= 0 && pwrite(fd, text, (size_t)size, 0) == size ? 0 : -errno;
}

int instance_dir_read_console(int dir_fd, uint64_t *offset, uint64_t *end)
{
    auto_close int fd = openat(dir_fd, INSTANCE_CONSOLE_FILE, O_RDONLY | O_CLOEXEC);
    char text[49] = "";

    if (fd < 0 || pread(fd, text, sizeof(text) - 1, 0) < 0) {
        return -errno;
    }
    return sscanf(text, "%" SCNu64 " %" SCNu64, offset, end) == 2 ? 0 : -EBADMSG;
}
