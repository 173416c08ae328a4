/* Hands that keep what qvmd must not have, and pass it on. The end of a pseudo terminal stands for
 * it: nobody knows what a driver does when it is closed. */
#include "tests/unit/hand_unit.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

static char text_of_packet[64];
static int ends[2]; /* of a control connection: qvmd's, and that of the qvm */

struct passing {
    struct answer opened, passed;
    const size_t *files; /* to be passed on in the first callback; NULL: nothing is */
    size_t count;
    const char *text;
    int times; /* how often */
    int told;  /* what hand_pass() said */
};

static void setup_pass(void)
{
    setup();
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
}

static void teardown_pass(void)
{
    (void)close(ends[0]);
    (void)close(ends[1]);
    teardown();
}

static const char *make_terminal(int *master)
{
    *master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    ck_assert_int_ge(*master, 0);
    ck_assert_int_eq(grantpt(*master), 0);
    ck_assert_int_eq(unlockpt(*master), 0);
    return ptsname(*master);
}

static void on_passed(void *data, struct hand_result *result)
{
    struct passing *passing = data;
    struct err err = {0};

    on_done(&passing->passed, result);
    if (passing->passed.calls < passing->times) {
        ck_assert_ptr_nonnull(result->keeper);
        passing->told = hand_pass(result->keeper, ends[0], passing->text, passing->files,
                                  passing->count, on_passed, passing, &err);
    }
}

static void on_opened(void *data, struct hand_result *result)
{
    struct passing *passing = data;
    struct err err = {0};

    on_done(&passing->opened, result);
    if (passing->files != NULL) {
        ck_assert_ptr_nonnull(result->keeper);
        passing->told = hand_pass(result->keeper, ends[0], passing->text, passing->files,
                                  passing->count, on_passed, passing, &err);
    }
}

static void open_and_pass(const struct hand_file *files, size_t count, struct passing *passing)
{
    struct err err = {0};

    ck_assert_msg(hand_open_files(hands, geteuid(), files, count, DEADLINE_MS, on_opened, passing,
                                  NULL, &err) == 0,
                  "%s", err.msg);
    run();
    ck_assert_int_eq(passing->opened.calls, 1);
    ck_assert_msg(passing->opened.result.err.code == 0, "%s", passing->opened.result.err.msg);
}

/* The next packet of the connection: the descriptor that came with it, -1: none did. */
static int receive(char *text, size_t size)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(4 * sizeof(int))];
    } control = {0};
    struct iovec piece = {.iov_base = text, .iov_len = size - 1};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof(control.space)};
    ssize_t n = recvmsg(ends[1], &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    int fd = -1;

    ck_assert_int_ge(n, 0);
    text[n] = '\0';
    if (CMSG_FIRSTHDR(&message) != NULL) {
        ck_assert_uint_eq(CMSG_FIRSTHDR(&message)->cmsg_len, CMSG_LEN(sizeof(int)));
        memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
    }
    return fd;
}

START_TEST(what_qvmd_must_not_have_stays_with_its_hand_which_passes_it_on)
{
    auto_close int master = -1;
    const char *terminal = make_terminal(&master);
    const struct hand_file files[] = {reading(make_file("kernel", "12345")),
                                      stream(terminal, true, true)};
    const size_t second[] = {1};
    struct passing passing = {.files = second, .count = 1, .text = "{\"grant\":1}", .times = 2};
    struct stat ours, theirs;
    char text[64];

    open_and_pass(files, ARRAY_LEN(files), &passing);
    ck_assert(!passing.opened.files[0].is_kept);
    ck_assert_int_ge(passing.opened.files[0].fd, 0);
    ck_assert(passing.opened.files[1].is_kept);
    ck_assert_int_eq(passing.opened.files[1].fd, -1);
    ck_assert(passing.opened.files[1].is_exclusive);
    ck_assert_int_eq(stat(terminal, &ours), 0);
    ck_assert_int_eq(passing.passed.calls, 2);
    ck_assert_msg(passing.passed.result.err.code == 0, "%s", passing.passed.result.err.msg);
    for (int i = 0; i < 2; i++) {
        auto_close int fd = receive(text, sizeof(text));

        ck_assert_str_eq(text, passing.text);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(fstat(fd, &theirs), 0);
        ck_assert_uint_eq(theirs.st_rdev, ours.st_rdev);
    }
    release(&passing.opened);
}
END_TEST

START_TEST(what_is_kept_and_nobody_wants_is_let_go)
{
    auto_close int master = -1;
    const struct hand_file files[] = {stream(make_terminal(&master), true, true)};
    struct passing passing = {0};

    open_and_pass(files, ARRAY_LEN(files), &passing); /* and the loop ends */
    ck_assert(passing.opened.files[0].is_kept);
}
END_TEST

START_TEST(a_hand_passes_on_nothing_but_what_it_keeps)
{
    auto_close int master = -1;
    const struct hand_file files[] = {reading(make_file("kernel", "12345")),
                                      stream(make_terminal(&master), true, true)};
    static const size_t wrong[] = {0, 2, HAND_FILES_MAX};

    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct passing passing = {.files = &wrong[i], .count = 1, .text = "{}", .times = 1};

        open_and_pass(files, ARRAY_LEN(files), &passing);
        ck_assert_int_eq(passing.passed.calls, 1);
        ck_assert_int_eq(passing.passed.result.err.code, -EBADF);
        release(&passing.opened);
    }
}
END_TEST

START_TEST(a_connection_that_nobody_reads_does_not_keep_a_hand)
{
    auto_close int master = -1;
    const struct hand_file files[] = {stream(make_terminal(&master), true, true)};
    const size_t first[] = {0};
    struct passing passing = {.files = first, .count = 1, .text = "{}", .times = 1};
    char packet[512] = "";

    while (send(ends[0], packet, sizeof(packet), MSG_DONTWAIT) > 0) {
    }
    open_and_pass(files, ARRAY_LEN(files), &passing);
    ck_assert_int_eq(passing.passed.result.err.code, -EAGAIN);
}
END_TEST

START_TEST(packets_have_a_bound)
{
    auto_close int master = -1;
    const struct hand_file files[] = {stream(make_terminal(&master), true, true)};
    static char text[HAND_TEXT_MAX + 2];
    static const size_t many[HAND_PASS_MAX + 1] = {0};
    struct passing long_text = {.files = many, .count = 1, .text = text, .times = 1};
    struct passing full = long_text;
    struct passing many_files = {
        .files = many, .count = HAND_PASS_MAX + 1, .text = "{}", .times = 1};

    memset(text, 'x', HAND_TEXT_MAX + 1);
    open_and_pass(files, ARRAY_LEN(files), &long_text);
    ck_assert_int_eq(long_text.told, -EMSGSIZE);
    ck_assert_int_eq(long_text.passed.calls, 0);
    open_and_pass(files, ARRAY_LEN(files), &many_files);
    ck_assert_int_eq(many_files.told, -EMSGSIZE);
    text[HAND_TEXT_MAX] = '\0';
    open_and_pass(files, ARRAY_LEN(files), &full);
    ck_assert_int_eq(full.told, 0);
    ck_assert_int_eq(full.passed.result.err.code, 0);
}
END_TEST

static void send_fds(const int *fds, size_t count)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(HAND_PASS_MAX * sizeof(int))];
    } control = {0};
    struct iovec piece = {.iov_base = text_of_packet, .iov_len = sizeof(text_of_packet)};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = CMSG_SPACE(count * sizeof(int))};

    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
    ck_assert_int_eq(sendmsg(ends[1], &message, 0), sizeof(text_of_packet));
}

static struct answer receive_in_hand(void)
{
    struct answer answer = {0};
    struct err err = {0};

    ck_assert_msg(
        hand_receive(hands, geteuid(), ends[0], DEADLINE_MS, on_done, &answer, NULL, &err) == 0,
        "%s", err.msg);
    run();
    ck_assert_int_eq(answer.calls, 1);
    return answer;
}

START_TEST(of_what_a_stranger_sends_a_hand_passes_back_what_is_closed_at_once)
{
    auto_close int master = -1;
    auto_close int terminal = open(make_terminal(&master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    auto_close int memory = memfd_create("test", MFD_CLOEXEC);
    auto_close int event = eventfd(0, EFD_CLOEXEC);
    auto_close int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC); /* not in its list */
    const int fds[] = {memory, terminal, ends[1], event, timer};
    struct answer answer;

    send_fds(fds, ARRAY_LEN(fds));
    send_fds(fds, 1); /* another packet is left alone */
    answer = receive_in_hand();
    ck_assert_msg(answer.result.err.code == 0, "%s", answer.result.err.msg);
    ck_assert_uint_eq(answer.result.count, ARRAY_LEN(fds));
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        bool is_kept = fds[i] == terminal || fds[i] == timer;

        ck_assert_int_eq(answer.files[i].is_kept, is_kept);
        ck_assert_int_eq(answer.files[i].fd < 0, is_kept);
    }
    release(&answer);
    answer = receive_in_hand();
    ck_assert_uint_eq(answer.result.count, 1);
    release(&answer);
    answer = receive_in_hand();
    ck_assert_int_eq(answer.result.err.code, -EAGAIN); /* nobody waits for one */
}
END_TEST

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

START_TEST(the_last_close_is_a_hands_also_of_what_lies_unread_in_a_socket)
{
    struct pollfd reader[2];
    int left[3], pair[2], pipes[2][2];

    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(pipe2(pipes[i], O_CLOEXEC), 0);
        reader[i] = (struct pollfd){.fd = pipes[i][0]};
    }
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    send_fds(&pipes[1][1], 1); /* lies there, in ends[0] */
    (void)close(pipes[1][1]);
    left[0] = pipes[0][1];
    left[1] = pair[0];
    left[2] = dup(ends[0]);
    (void)close(ends[0]);
    hands_close(hands, left, ARRAY_LEN(left));
    for (size_t i = 0; i < ARRAY_LEN(left); i++) {
        ck_assert(!is_open(left[i])); /* at once: nobody waited */
    }
    ck_assert(is_open(pair[1]));
    run();
    ck_assert_int_eq(poll(reader, 2, 0), 2); /* and now nobody has them */
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_ne(reader[i].revents & POLLHUP, 0);
        (void)close(pipes[i][0]);
    }
    (void)close(pair[1]);
    ends[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
}
END_TEST

static struct pollfd watched;

static void note_hangup(void *data)
{
    *(bool *)data = poll(&watched, 1, 0) == 1 && (watched.revents & POLLHUP) != 0;
}

START_TEST(who_wants_to_know_is_told_when_all_is_closed)
{
    bool was_closed = false;
    int ends_of[2];

    ck_assert_int_eq(pipe2(ends_of, O_CLOEXEC), 0);
    watched = (struct pollfd){.fd = ends_of[0]};
    hands_close_then(hands, &ends_of[1], 1, note_hangup, &was_closed);
    ck_assert(!was_closed);
    run();
    ck_assert(was_closed);
    (void)close(ends_of[0]);
}
END_TEST

START_TEST(what_waits_for_a_hand_to_close_it_is_closed_with_the_hands)
{
    struct err err = {0};
    int pipes[3][2]; /* two hands close, one more than that waits */

    for (size_t i = 0; i < ARRAY_LEN(pipes); i++) {
        ck_assert_int_eq(pipe2(pipes[i], O_CLOEXEC), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(pipes); i++) {
        hands_close(hands, &pipes[i][1], 1);
    }
    ck_assert(!is_open(pipes[1][1]));
    ck_assert(is_open(pipes[2][1]));
    hands_destroy(hands, NULL, NULL);
    run();
    ck_assert(!is_open(pipes[2][1]));
    for (size_t i = 0; i < ARRAY_LEN(pipes); i++) {
        (void)close(pipes[i][0]);
    }
    ck_assert_int_eq(hands_create(&loop, 2, &hands, &err), 0);
}
END_TEST

START_TEST(who_closes_does_not_wait_for_those_who_wait_for_that)
{
    struct err err = {0};
    struct answer waited = {0};
    struct answer held;

    hands_destroy(hands, NULL, NULL);
    run();
    ck_assert_int_eq(hands_create(&loop, 1, &hands, &err), 0);
    held = OPEN(writing(make_file("held", "x")));
    ck_assert_int_eq(hand_await_unlocked(hands, geteuid(), path_of("held"), held.files[0].id,
                                         DEADLINE_MS, on_done, &waited, NULL, &err),
                     0);
    hands_close(hands, &held.files[0].fd, 1);
    run();
    ck_assert_int_eq(waited.calls, 1);
    ck_assert_msg(waited.result.err.code == 0, "%s", waited.result.err.msg);
}
END_TEST

UNIT_MAIN_WITH("hand_pass", setup_pass, teardown_pass,
               what_qvmd_must_not_have_stays_with_its_hand_which_passes_it_on,
               what_is_kept_and_nobody_wants_is_let_go, a_hand_passes_on_nothing_but_what_it_keeps,
               a_connection_that_nobody_reads_does_not_keep_a_hand, packets_have_a_bound,
               of_what_a_stranger_sends_a_hand_passes_back_what_is_closed_at_once,
               the_last_close_is_a_hands_also_of_what_lies_unread_in_a_socket,
               who_wants_to_know_is_told_when_all_is_closed,
               what_waits_for_a_hand_to_close_it_is_closed_with_the_hands,
               who_closes_does_not_wait_for_those_who_wait_for_that)
