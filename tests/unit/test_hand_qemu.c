/* Image locks against the real qemu-io: they and we see each other. */
#include "tests/unit/hand_unit.h"

#include <fcntl.h>
#include <sys/wait.h>

#define SKIPPED 77 /* as in tests/unit/store.cmake */

static bool run_tool(const char *command, const char *disk)
{
    char line[256];

    (void)snprintf(line, sizeof(line), "%s '%s' >/dev/null 2>&1", command, disk);
    return system(line) == 0;
}

/* Overwriting a byte: needs the write lock. */
static bool can_qemu_write(const char *disk)
{
    return run_tool("qemu-io -f raw -c 'write 0 512'", disk);
}

static bool can_qemu_read(const char *disk)
{
    return run_tool("qemu-io -r -f raw -c 'read 0 512'", disk);
}

static const char *make_disk(void)
{
    const char *disk = make_file("disk", "x");

    ck_assert_int_eq(truncate(disk, 1 << 20), 0);
    return disk;
}

START_TEST(an_image_that_we_write_is_refused_to_qemu_for_writing)
{
    const char *disk = make_disk();
    struct answer answer = OPEN(writing(disk));

    ck_assert_int_eq(answer.result.err.code, 0);
    ck_assert(!can_qemu_write(disk));
    ck_assert(can_qemu_read(disk)); /* its tools look at raw images without minding writers */
    release(&answer);
    ck_assert(can_qemu_write(disk));
}
END_TEST

START_TEST(an_image_that_we_read_can_be_read_by_qemu_but_not_written)
{
    const char *disk = make_disk();
    struct answer answer = OPEN(reading(disk));

    ck_assert_int_eq(answer.result.err.code, 0);
    ck_assert(can_qemu_read(disk));
    ck_assert(!can_qemu_write(disk));
    release(&answer);
}
END_TEST

/* A qemu-io that has `disk` open for writing until its input ends. */
static pid_t hold(const char *disk, int *input)
{
    int in[2];
    int out[2];
    char byte;
    pid_t pid;

    ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        (void)dup2(in[0], STDIN_FILENO);
        (void)dup2(out[1], STDOUT_FILENO);
        (void)execlp("qemu-io", "qemu-io", "-f", "raw", disk, (char *)NULL);
        _exit(127);
    }
    (void)close(in[0]);
    (void)close(out[1]);
    ck_assert_int_eq(read(out[0], &byte, 1), 1); /* its prompt: the image is open */
    (void)close(out[0]);
    *input = in[1];
    return pid;
}

static void let_go(pid_t pid, int *input)
{
    cleanup_close(input);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

START_TEST(an_image_that_qemu_writes_is_refused_by_us_until_it_ends)
{
    const char *disk = make_disk();
    int input = -1;
    pid_t pid = hold(disk, &input);
    struct answer reader = OPEN(reading(disk));
    struct answer writer = OPEN(writing(disk));

    ck_assert_int_eq(reader.result.err.code, -EBUSY);
    ck_assert_int_eq(writer.result.err.code, -EBUSY);
    let_go(pid, &input);
    writer = OPEN(writing(disk));
    ck_assert_int_eq(writer.result.err.code, 0);
    release(&writer);
}
END_TEST

UNIT_RUN(run_all, "hand_qemu", setup, teardown,
         an_image_that_we_write_is_refused_to_qemu_for_writing,
         an_image_that_we_read_can_be_read_by_qemu_but_not_written,
         an_image_that_qemu_writes_is_refused_by_us_until_it_ends)

int main(void)
{
    if (system("qemu-io --version >/dev/null 2>&1") != 0) {
        (void)fputs("SKIPPED: qemu-io is not installed (package qemu-utils)\n", stderr);
        return SKIPPED;
    }
    return run_all();
}
