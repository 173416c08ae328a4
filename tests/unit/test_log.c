/* Lines to the loggers of the host. */
#include "proto/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "tests/unit/unit.h"

static char folder[] = "/tmp/test-log-XXXXXX";
static char path[64];

/* A logger at `path`. */
static int listen_there(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/log", folder);
    strcpy(address.sun_path, path);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void forget(void)
{
    (void)unlink(path);
    (void)rmdir(folder);
}

static const char *heard(int fd)
{
    static char text[4096];
    ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

START_TEST(the_loggers_of_the_host_hear_lines_in_their_own_words)
{
    auto_close int logger = listen_there();
    auto_close int fd = log_connect(path);

    ck_assert_int_ge(fd, 0);
    log_to(STDERR_FILENO, 0, false);
    log_to_system(LOG_SYSLOG, fd, LOG_BIT(LOG_warn), "web");
    log_warn("room: what key=%s", "va\nlue");
    ck_assert_str_eq(heard(logger), "<28>qvm[web]: room: what key=va?lue");
    log_info("room: not in its set");
    ck_assert_str_eq(heard(logger), "");
    log_system_line(LOG_SYSLOG, LOG_debug, "vdev: %s", "alone");
    ck_assert_str_eq(heard(logger), "<31>qvm[web]: vdev: alone");
    log_system_line(LOG_JOURNAL, LOG_error, "nobody is there");
    log_to_system(LOG_SYSLOG, -1, 0, "");
    log_to_system(LOG_JOURNAL, fd, LOG_BIT(LOG_error), "web");
    log_error("room: failed MESSAGE=forged\nPRIORITY=0");
    ck_assert_str_eq(heard(logger), "PRIORITY=3\nSYSLOG_IDENTIFIER=qvm\nQVM_GUEST=web\n"
                                    "MESSAGE=room: failed MESSAGE=forged?PRIORITY=0\n");
    forget();
}
END_TEST

START_TEST(a_logger_that_takes_nothing_holds_nobody_up)
{
    auto_close int logger = listen_there();
    auto_close int fd = log_connect(path);

    log_to(STDERR_FILENO, 0, false);
    log_to_system(LOG_SYSLOG, fd, LOG_BIT(LOG_warn), "web");
    for (int i = 0; i < 10000; i++) {
        log_warn("room: line %d", i); /* the socket is full soon */
    }
    ck_assert_str_eq(heard(logger), "<28>qvm[web]: room: line 0");
    forget();
}
END_TEST

START_TEST(where_no_logger_is_there_is_nothing_to_connect_to)
{
    char long_path[200];

    ck_assert_int_eq(log_connect("/nowhere/log"), -ENOENT);
    memset(long_path, 'x', sizeof(long_path));
    long_path[sizeof(long_path) - 1] = '\0';
    ck_assert_int_eq(log_connect(long_path), -ENAMETOOLONG);
}
END_TEST

UNIT_MAIN("log", the_loggers_of_the_host_hear_lines_in_their_own_words,
          a_logger_that_takes_nothing_holds_nobody_up,
          where_no_logger_is_there_is_nothing_to_connect_to)
