/* Attempts at files, programs and memory. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/attempts/attempts.h"

#define DESCRIPTORS 256 /* all that a qvm may have lie below */
#define PIECES      128 /* 8 GiB */
#define PIECE       ((size_t)64 << 20)

static char *const no_words[] = {NULL};
static char page[4096] __attribute__((aligned(4096)));

static long open_path(int dir_fd, const char *path, int flags)
{
    long fd = attempt_call(SYS_openat, (long)dir_fd, path, (long)flags, 0600L);

    if (fd >= 0) {
        (void)close((int)fd);
    }
    return fd;
}

#define OPEN(name, path, flags)                                                                    \
    long attempt_##name(const struct attempt_target *target)                                       \
    {                                                                                              \
        (void)target;                                                                              \
        return open_path(AT_FDCWD, path, flags);                                                   \
    }

OPEN(open_a_file, "/etc/passwd", O_RDONLY)
OPEN(open_the_configuration_of_qvmd, target->config, O_RDONLY)
OPEN(open_upwards, "../../../../../../../../../../../../etc/passwd", O_RDONLY)
OPEN(open_through_proc, "/proc/self/root/etc/passwd", O_RDONLY)
OPEN(open_kvm, "/dev/kvm", O_RDWR)
OPEN(open_vfio, "/dev/vfio/vfio", O_RDWR)
OPEN(open_a_library, "/usr/lib/os-release", O_RDONLY)
OPEN(open_the_root, "/", O_RDONLY | O_DIRECTORY)
OPEN(write_a_library, "/usr/lib/os-release", O_WRONLY)
OPEN(make_a_file, "/new", O_WRONLY | O_CREAT)

long attempt_open_memory_of_a_neighbour(const struct attempt_target *target)
{
    char path[32];

    (void)snprintf(path, sizeof(path), "/proc/%d/mem", target->neighbour);
    return open_path(AT_FDCWD, path, O_RDWR);
}

/* None of them is a folder from which a way leads anywhere. */
long attempt_open_through_every_descriptor(const struct attempt_target *target)
{
    long worst = -EBADF;

    (void)target;
    for (int fd = 0; fd < DESCRIPTORS; fd++) {
        long r = open_path(fd, "../../../../../../etc/passwd", O_RDONLY);

        if (r != -EBADF && (worst == -EBADF || r != -ENOTDIR)) {
            worst = r;
        }
    }
    return worst;
}

long attempt_open_the_new_way(const struct attempt_target *target)
{
    const struct open_how how = {.flags = O_RDONLY};

    (void)target;
    return attempt_call(SYS_openat2, (long)AT_FDCWD, "/etc/passwd", &how, sizeof(how));
}

#define CALL(name, ...)                                                                            \
    long attempt_##name(const struct attempt_target *target)                                       \
    {                                                                                              \
        (void)target;                                                                              \
        return attempt_call(__VA_ARGS__);                                                          \
    }

CALL(make_a_folder, SYS_mkdir, "/new", 0700L)
CALL(make_a_device, SYS_mknod, "/new", (long)(S_IFCHR | 0600), 0x10aL)
CALL(remove_a_folder, SYS_rmdir, "/vdevs")
CALL(look_at_a_path, SYS_newfstatat, (long)AT_FDCWD, "/etc/passwd", page, 0L)
CALL(look_the_new_way, SYS_statx, (long)AT_FDCWD, "/etc/passwd", 0L, 0L, page)
CALL(list_a_folder, SYS_getdents64, 3L, page, sizeof(page))
CALL(link_a_descriptor, SYS_linkat, 1L, "", (long)AT_FDCWD, "/new", (long)AT_EMPTY_PATH)
CALL(run_a_program, SYS_execve, "/bin/sh", no_words, no_words)
CALL(run_the_program_loader, SYS_execve, "/lib64/ld-linux-x86-64.so.2", no_words, no_words)
CALL(make_a_process, SYS_fork)
CALL(map_code, SYS_mmap, 0L, 4096L, (long)(PROT_READ | PROT_EXEC),
     (long)(MAP_PRIVATE | MAP_ANONYMOUS), -1L, 0L)
CALL(make_code_of_data, SYS_mprotect, page, 4096L, (long)(PROT_READ | PROT_WRITE | PROT_EXEC))
CALL(lock_memory, SYS_mlock, page, 4096L)
CALL(make_memory_with_a_name, SYS_memfd_create, "x", 0L)
CALL(lock_a_file, SYS_flock, 1L, (long)(LOCK_EX | LOCK_NB))

long attempt_lock_a_range(const struct attempt_target *target)
{
    const struct flock all = {.l_type = F_WRLCK};

    (void)target;
    return attempt_call(SYS_fcntl, 1L, (long)F_OFD_SETLK, &all);
}

long attempt_run_code_of_memory(const struct attempt_target *target)
{
    long fd = attempt_call(SYS_memfd_create, "x", 0L);

    (void)target;
    return fd < 0 ? fd
                  : attempt_call(SYS_execveat, fd, "", no_words, no_words, (long)AT_EMPTY_PATH);
}

/* Nothing is touched, so that it costs the host nothing where it succeeds. */
static long take_memory(int flags)
{
    static void *pieces[PIECES];
    size_t count = 0;
    long r = 0;

    while (count < PIECES && r == 0) {
        pieces[count] =
            mmap(NULL, PIECE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (pieces[count] == MAP_FAILED) {
            r = -errno;
        } else {
            count++;
        }
    }
    while (count > 0) {
        (void)munmap(pieces[--count], PIECE);
    }
    return r;
}

long attempt_take_memory_without_end(const struct attempt_target *target)
{
    (void)target;
    return take_memory(MAP_PRIVATE);
}

long attempt_take_shared_memory_without_end(const struct attempt_target *target)
{
    (void)target;
    return take_memory(MAP_SHARED);
}

/* All of them are ended again: in a pid namespace of its own nobody else has to wait for them. */
long attempt_make_processes_without_end(const struct attempt_target *target)
{
    static pid_t made[1024];
    unsigned count = 0;
    long r = 0;

    (void)target;
    while (count < sizeof(made) / sizeof(made[0])) {
        r = attempt_call(SYS_fork);
        if (r == 0) {
            for (;;) {
                (void)pause();
            }
        }
        if (r < 0) {
            break;
        }
        made[count++] = (pid_t)r;
    }
    while (count > 0) {
        (void)kill(made[--count], SIGKILL);
        (void)waitpid(made[count], NULL, 0);
    }
    return r;
}
