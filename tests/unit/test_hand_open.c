/* Hands that open files: types, owners, locks on the descriptor that comes back. */
#include "tests/unit/hand_unit.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

START_TEST(files_come_back_open_with_their_identity_and_size)
{
    const char *kernel = make_file("kernel", "12345");
    const char *disk = make_file("disk", "1234567");
    struct answer answer = OPEN(reading(kernel), writing(disk));
    char text[8] = "";
    char id[HAND_ID_SIZE];
    struct stat st;

    ck_assert_int_eq(answer.result.err.code, 0);
    ck_assert_uint_eq(answer.result.count, 2);
    ck_assert_int_eq(answer.files[0].size, 5);
    ck_assert(!answer.files[0].is_exclusive);
    ck_assert_int_eq(read(answer.files[0].fd, text, sizeof(text)), 5);
    ck_assert_str_eq(text, "12345");
    ck_assert_int_lt(write(answer.files[0].fd, "x", 1), 0);
    ck_assert_int_eq(answer.files[1].size, 7);
    ck_assert(answer.files[1].is_exclusive);
    ck_assert_int_eq(write(answer.files[1].fd, "x", 1), 1);
    ck_assert_int_eq(fstat(answer.files[1].fd, &st), 0);
    (void)snprintf(id, sizeof(id), "file:%lx:%lu", (unsigned long)st.st_dev,
                   (unsigned long)st.st_ino);
    ck_assert_str_eq(answer.files[1].id, id);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(fcntl(answer.files[i].fd, F_GETFD), FD_CLOEXEC);
        ck_assert_int_eq(fcntl(answer.files[i].fd, F_GETFL) & O_NONBLOCK, 0);
    }
    release(&answer);
}
END_TEST

static int listen_at(const char *path, int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    if (type == SOCK_STREAM) {
        ck_assert_int_eq(listen(fd, 1), 0);
    }
    return fd;
}

START_TEST(connection_comes_back_to_who_listens_and_he_sees_the_owner)
{
    const char *path = path_of("socket");
    int listener = listen_at(path, SOCK_STREAM), peer;
    struct answer answer = OPEN((struct hand_file){.path = path, .is_socket = true});
    struct ucred who;
    socklen_t size = sizeof(who);
    char byte = 0;

    ck_assert_int_eq(answer.result.err.code, 0);
    ck_assert(answer.files[0].is_exclusive);
    ck_assert(!answer.files[0].is_kept);
    ck_assert_int_eq(fcntl(answer.files[0].fd, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(fcntl(answer.files[0].fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    peer = accept(listener, NULL, NULL);
    ck_assert_int_eq(getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &who, &size), 0);
    ck_assert_uint_eq(who.uid, geteuid());
    ck_assert_int_eq(write(answer.files[0].fd, "x", 1), 1);
    ck_assert_int_eq(read(peer, &byte, 1), 1);
    ck_assert_int_eq(byte, 'x');
    (void)close(peer);
    (void)close(listener);
    release(&answer);
}
END_TEST

START_TEST(what_nobody_listens_at_is_refused_in_words)
{
    int datagrams = listen_at(path_of("datagrams"), SOCK_DGRAM);
    const char *file = make_file("file", "x");
    char path[128];
    struct answer answer;

    (void)snprintf(path, sizeof(path), "%s", file);
    answer = OPEN((struct hand_file){.path = path, .is_socket = true});
    ck_assert_int_eq(answer.result.err.code, -EINVAL);
    ck_assert_ptr_nonnull(strstr(answer.result.err.msg, "is a regular file, not a socket"));
    (void)snprintf(path, sizeof(path), "%s", path_of("datagrams"));
    answer = OPEN((struct hand_file){.path = path, .is_socket = true});
    ck_assert_int_eq(answer.result.err.code, -ENXIO);
    (void)close(datagrams);
    answer = OPEN((struct hand_file){.path = path, .is_socket = true});
    ck_assert_int_eq(answer.result.err.code, -ENXIO);
    ck_assert_ptr_nonnull(strstr(answer.result.err.msg, "Connection refused"));
    answer = OPEN((struct hand_file){.path = path_of("missing"), .is_socket = true});
    ck_assert_int_eq(answer.result.err.code, -ENOENT);
}
END_TEST

START_TEST(a_path_that_leads_nowhere_has_a_code_that_callers_know)
{
    char deep[512];
    struct answer answer;

    ck_assert_int_eq(symlink("loop", path_of("loop")), 0);
    (void)snprintf(deep, sizeof(deep), "%s", path_of("loop"));
    answer = OPEN(reading(deep));
    ck_assert_int_eq(answer.result.err.code, -EINVAL);
    ck_assert_ptr_nonnull(strstr(answer.result.err.msg, "Too many levels of symbolic links"));
    (void)snprintf(deep, sizeof(deep), "/tmp/%0300d", 1);
    answer = OPEN(reading(deep));
    ck_assert_int_eq(answer.result.err.code, -EINVAL);
    ck_assert_ptr_nonnull(strstr(answer.result.err.msg, "File name too long"));
    answer = OPEN(reading("/dev/null/x"));
    ck_assert_int_eq(answer.result.err.code, -ENOENT);
}
END_TEST

START_TEST(a_missing_file_is_refused_with_its_place_and_user_and_nothing_is_kept)
{
    const char *kernel = make_file("kernel", "12345");
    char missing[128];
    char expected[256];
    char expected_end[] = "': No such file or directory (as user '";
    struct answer answer;

    (void)snprintf(missing, sizeof(missing), "%s", path_of("missing"));
    answer = OPEN(reading(kernel), reading(missing));
    ck_assert_int_eq(answer.result.err.code, -ENOENT);
    (void)snprintf(expected, sizeof(expected), "web.qvmconf:14: cannot open '%s%s", missing,
                   expected_end);
    ck_assert_msg(strncmp(answer.result.err.msg, expected, strlen(expected)) == 0, "%s",
                  answer.result.err.msg);
    ck_assert_uint_eq(answer.result.bad, 1);
    ck_assert_uint_eq(answer.result.count, 0);
}
END_TEST

START_TEST(what_a_link_of_proc_leads_to_is_refused_in_words)
{
    char path[300];
    struct answer answer;

    (void)snprintf(path, sizeof(path), "/proc/self/root%s", make_file("kernel", "12345"));
    answer = OPEN(reading(path));
    ck_assert_int_ne(answer.result.err.code, 0);
    ck_assert_ptr_nonnull(
        strstr(answer.result.err.msg, "one of /proc to what another process has"));
    ck_assert_uint_eq(answer.result.count, 0);
}
END_TEST

static void expect_refusal(struct hand_file file, const char *tail)
{
    struct answer answer = OPEN(file);
    char expected[256];

    (void)snprintf(expected, sizeof(expected), "%s%s'%s' %s", file.where != NULL ? file.where : "",
                   file.where != NULL ? ": " : "", file.path, tail);
    ck_assert_int_eq(answer.result.err.code, -EINVAL);
    ck_assert_str_eq(answer.result.err.msg, expected);
}

START_TEST(what_is_no_file_is_refused_in_words)
{
    const char *fifo = path_of("fifo");

    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    expect_refusal(reading(directory), "is a directory, not a regular file or block device");
    expect_refusal(writing(directory), "is a directory, not a regular file or block device");
    expect_refusal(writing(fifo), "is a FIFO, not a regular file or block device");
    expect_refusal(reading("/dev/null"),
                   "is a character device, not a regular file or block device");
    expect_refusal(reading("kernel"), "is not an absolute path");
}
END_TEST

START_TEST(what_is_no_stream_is_refused_in_words)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    auto_close int socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", directory);
    ck_assert_int_eq(bind(socket_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    expect_refusal(stream(address.sun_path, true, true),
                   "is a socket, not a character device, FIFO or regular file");
    expect_refusal(stream(directory, true, false),
                   "is a directory, not a character device, FIFO or regular file");
}
END_TEST

START_TEST(a_file_for_what_a_guest_says_is_made_and_goes_on_at_its_end)
{
    const char *path = path_of("said");
    struct answer answer = OPEN(stream(path, false, true));
    struct stat st;

    ck_assert_msg(answer.result.err.code == 0, "%s", answer.result.err.msg);
    ck_assert_int_eq(write(answer.files[0].fd, "one", 3), 3);
    release(&answer);
    answer = OPEN(stream(path, false, true));
    ck_assert_int_eq(write(answer.files[0].fd, "two", 3), 3);
    ck_assert_int_eq(fstat(answer.files[0].fd, &st), 0);
    ck_assert_int_eq(st.st_size, 6);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    ck_assert_int_eq(ftruncate(answer.files[0].fd, 0), 0);
    ck_assert_int_eq(write(answer.files[0].fd, "x", 1), 1);
    ck_assert_int_eq(fstat(answer.files[0].fd, &st), 0);
    ck_assert_int_eq(st.st_size, 1);
    release(&answer);
    ck_assert_int_eq(OPEN(stream("/nowhere/said", false, true)).result.err.code, -ENOENT);
    ck_assert_int_eq(OPEN(stream(path_of("typed"), true, false)).result.err.code, -ENOENT);
    ck_assert_int_eq(OPEN(stream(path_of("both"), true, true)).result.err.code, -ENOENT);
}
END_TEST

START_TEST(a_fifo_without_a_reader_can_be_written_and_never_blocks)
{
    const char *fifo = path_of("fifo");
    struct answer answer;

    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    answer = OPEN(stream(fifo, false, true));
    ck_assert_msg(answer.result.err.code == 0, "%s", answer.result.err.msg);
    ck_assert(answer.files[0].is_exclusive);
    ck_assert_int_eq(fcntl(answer.files[0].fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    release(&answer);
}
END_TEST

START_TEST(everybody_may_have_dev_null)
{
    struct answer answer = OPEN(stream("/dev/null", true, true));

    ck_assert_int_eq(answer.result.err.code, 0);
    ck_assert_str_eq(answer.files[0].id, "char:1:3");
    ck_assert(!answer.files[0].is_exclusive);
    release(&answer);
}
END_TEST

START_TEST(a_writer_is_refused_while_another_descriptor_writes_and_admitted_when_it_is_closed)
{
    const char *disk = make_file("disk", "x");
    struct answer first = OPEN(writing(disk));
    struct answer second = OPEN(writing(disk));
    struct answer reader = OPEN(reading(disk));
    char expected[256];

    ck_assert_int_eq(first.result.err.code, 0);
    ck_assert_int_eq(second.result.err.code, -EBUSY);
    (void)snprintf(expected, sizeof(expected),
                   "web.qvmconf:15: '%s' is in use by another program, which has locked it", disk);
    ck_assert_str_eq(second.result.err.msg, expected);
    ck_assert_int_eq(reader.result.err.code, -EBUSY);
    release(&first);
    second = OPEN(writing(disk));
    ck_assert_int_eq(second.result.err.code, 0);
    release(&second);
}
END_TEST

START_TEST(readers_share_and_keep_writers_out)
{
    const char *disk = make_file("disk", "x");
    struct answer first = OPEN(reading(disk));
    struct answer second = OPEN(reading(disk));
    struct answer writer = OPEN(writing(disk));

    ck_assert_int_eq(first.result.err.code, 0);
    ck_assert_int_eq(second.result.err.code, 0);
    ck_assert_int_eq(writer.result.err.code, -EBUSY);
    release(&first);
    release(&second);
}
END_TEST

START_TEST(the_same_image_twice_in_one_ask_meets_its_own_lock)
{
    const char *disk = make_file("disk", "x");
    struct answer answer = OPEN(writing(disk), writing(disk));

    ck_assert_int_eq(answer.result.err.code, -EBUSY);
    ck_assert_uint_eq(answer.result.bad, 1);
    answer = OPEN(reading(disk), reading(disk));
    ck_assert_int_eq(answer.result.err.code, 0);
    release(&answer);
}
END_TEST

START_TEST(the_lock_lives_as_long_as_the_last_copy_of_the_descriptor)
{
    const char *disk = make_file("disk", "x");
    struct answer first = OPEN(writing(disk));
    auto_close int copy = dup(first.files[0].fd);
    struct answer second;

    release(&first);
    second = OPEN(writing(disk));
    ck_assert_int_eq(second.result.err.code, -EBUSY);
    cleanup_close(&copy);
    second = OPEN(writing(disk));
    ck_assert_int_eq(second.result.err.code, 0);
    release(&second);
}
END_TEST

START_TEST(a_hand_of_root_opens_as_the_owner)
{
    const char *disk = make_file("disk", "x");
    const struct hand_file file = reading(disk);
    struct answer answer = {0};
    char expected[256];

    if (geteuid() != 0) {
        return; /* then there is nobody else to be: see the next test */
    }
    ck_assert_int_eq(chmod(directory, 0755), 0);
    ck_assert_int_eq(chmod(disk, 0600), 0);
    ck_assert_int_eq(
        hand_open_files(hands, 65533, &file, 1, DEADLINE_MS, on_done, &answer, NULL, NULL), 0);
    run();
    ck_assert_int_eq(answer.result.err.code, -EACCES);
    (void)snprintf(expected, sizeof(expected),
                   "web.qvmconf:14: cannot open '%s': Permission denied (as user '65533')", disk);
    ck_assert_str_eq(answer.result.err.msg, expected);
    ck_assert_int_eq(chown(disk, 65533, 0), 0);
    ck_assert_int_eq(
        hand_open_files(hands, 65533, &file, 1, DEADLINE_MS, on_done, &answer, NULL, NULL), 0);
    run();
    ck_assert_msg(answer.result.err.code == 0, "%s", answer.result.err.msg);
    release(&answer);
}
END_TEST

START_TEST(a_hand_of_somebody_else_cannot_be_another)
{
    const char *disk = make_file("disk", "x");
    const struct hand_file file = reading(disk);
    struct answer answer = {0};

    if (geteuid() == 0) {
        ck_assert_int_eq(seteuid(65532), 0);
    }
    ck_assert_int_eq(
        hand_open_files(hands, 65533, &file, 1, DEADLINE_MS, on_done, &answer, NULL, NULL), 0);
    run();
    (void)!seteuid(getuid());
    ck_assert_int_eq(answer.result.err.code, -EPERM);
    ck_assert_ptr_nonnull(strstr(answer.result.err.msg, "only a qvmd that runs as root"));
}
END_TEST

UNIT_MAIN_WITH("hand_open", setup, teardown, files_come_back_open_with_their_identity_and_size,
               connection_comes_back_to_who_listens_and_he_sees_the_owner,
               what_nobody_listens_at_is_refused_in_words,
               a_path_that_leads_nowhere_has_a_code_that_callers_know,
               a_missing_file_is_refused_with_its_place_and_user_and_nothing_is_kept,
               what_a_link_of_proc_leads_to_is_refused_in_words,
               what_is_no_file_is_refused_in_words, what_is_no_stream_is_refused_in_words,
               a_file_for_what_a_guest_says_is_made_and_goes_on_at_its_end,
               a_fifo_without_a_reader_can_be_written_and_never_blocks, everybody_may_have_dev_null,
               a_writer_is_refused_while_another_descriptor_writes_and_admitted_when_it_is_closed,
               readers_share_and_keep_writers_out,
               the_same_image_twice_in_one_ask_meets_its_own_lock,
               the_lock_lives_as_long_as_the_last_copy_of_the_descriptor,
               a_hand_of_root_opens_as_the_owner, a_hand_of_somebody_else_cannot_be_another)
