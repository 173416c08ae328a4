/* A session at a guest's console. */
#include "cli/console.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/lend.h"

#define PIECE_SIZE 16384
#define END_MS     2000  /* its console closes a moment before its end is known */
#define SIZE_MS    1000  /* for telling the terminal's size */
#define CELLS_MAX  32767 /* columns, or rows */
#define GOES_ON    (-1)  /* no exit status yet */
#define CTRL_C     0x03

struct session {
    const struct cli *cli;
    char *name;
    const struct console_options *options;
    int socket, signals;
    bool is_terminal; /* stdin is one, and raw */
    bool is_typing;   /* stdin has not ended */
    bool is_timed;
    bool is_closed;    /* from the other side */
    bool is_lingering; /* stdin has ended, and `deadline` is that of options->linger_ms */
    struct timespec deadline;
    char typed[PIECE_SIZE]; /* read from stdin, not sent yet */
    size_t typed_at, typed_end;
};

bool console_parse_escape(const char *text, int *escape)
{
    const char *key = text[0] == '^' && text[1] != '\0'    ? text + 1
                      : strncasecmp(text, "ctrl-", 5) == 0 ? text + 5
                      : strncasecmp(text, "C-", 2) == 0    ? text + 2
                                                           : NULL;
    int letter = key != NULL ? toupper((unsigned char)*key) : 0;

    if (strcasecmp(text, "none") == 0) {
        *escape = CONSOLE_NO_ESCAPE;
        return true;
    }
    if (key == NULL) {
        *escape = (unsigned char)text[0];
        return text[0] != '\0' && text[1] == '\0' && (unsigned char)text[0] < 0x80;
    }
    *escape = letter & 0x1f;
    return letter >= '@' && letter <= '_' && key[1] == '\0';
}

/* ---- stdout ---- */

static bool write_all(const char *data, size_t size)
{
    struct pollfd pollfd = {.fd = STDOUT_FILENO, .events = POLLOUT};

    while (size > 0) {
        ssize_t n = write(STDOUT_FILENO, data, size);

        if (n >= 0) {
            data += n;
            size -= (size_t)n;
        } else if (errno == EAGAIN) { /* somebody left it non-blocking */
            (void)poll(&pollfd, 1, -1);
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

/* What the guest said; its end is the session's. */
static int on_guest(struct session *session)
{
    char data[PIECE_SIZE];
    ssize_t n = recv(session->socket, data, sizeof(data), MSG_DONTWAIT);

    if (n > 0) {
        return write_all(data, (size_t)n) ? GOES_ON : STATUS_FAILED;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return GOES_ON;
    }
    session->is_closed = true;
    return STATUS_OK;
}

/* ---- stdin ---- */

static int send_typed(struct session *session)
{
    ssize_t n = send(session->socket, session->typed + session->typed_at,
                     session->typed_end - session->typed_at, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n > 0) {
        session->typed_at += (size_t)n;
    }
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        session->typed_at = session->typed_end; /* nobody listens; what is still said is read */
        session->is_typing = false;
    }
    return GOES_ON;
}

/* Milliseconds until the deadline, for poll(). */
static int time_left(const struct session *session)
{
    struct timespec now;
    int64_t left;

    if (!session->is_timed) {
        return -1;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
    left = (session->deadline.tv_sec - now.tv_sec) * INT64_C(1000) +
           (session->deadline.tv_nsec - now.tv_nsec) / 1000000;
    return left > 0 ? (int)left : 0; /* at most OPTION_SPAN_MAX */
}

static void set_deadline(struct session *session, int64_t ms)
{
    (void)clock_gettime(CLOCK_MONOTONIC, &session->deadline); /* cannot fail */
    session->deadline.tv_sec += ms / 1000;
    session->deadline.tv_nsec += ms % 1000 * 1000000;
}

/* From now on no longer than was asked for, unless the time is over before that. */
static void linger(struct session *session)
{
    int64_t ms = session->options->linger_ms;
    int left = time_left(session);

    if (ms >= 0 && (left < 0 || ms < left)) {
        session->is_timed = session->is_lingering = true;
        set_deadline(session, ms);
    }
}

/* stdin is over: the guest is told once all of it is sent. */
static int end_typing(struct session *session)
{
    session->is_typing = false;
    if (session->is_terminal) {
        return STATUS_OK; /* it hung up */
    }
    if (!session->options->read_only) {
        (void)shutdown(session->socket, SHUT_WR); /* fails when the other end is gone already */
    }
    linger(session);
    return GOES_ON;
}

/* Where in the typed bytes the session is to end, or NULL. */
static const char *find_escape(const struct session *session)
{
    const char *end = NULL;

    if (session->is_terminal && session->options->escape != CONSOLE_NO_ESCAPE) {
        end = memchr(session->typed, session->options->escape, session->typed_end);
    }
    if (end == NULL && session->is_terminal && session->options->read_only) {
        end = memchr(session->typed, CTRL_C, session->typed_end);
    }
    return end;
}

static int on_typed(struct session *session)
{
    ssize_t n = read(STDIN_FILENO, session->typed, sizeof(session->typed));
    const char *end;

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return GOES_ON;
    }
    if (n <= 0) {
        return end_typing(session);
    }
    session->typed_at = 0;
    session->typed_end = (size_t)n;
    end = find_escape(session);
    if (end != NULL) {
        session->typed_end = (size_t)(end - session->typed);
    }
    if (session->options->read_only) {
        session->typed_at = session->typed_end;
    } else {
        (void)send_typed(session);
    }
    return end != NULL ? STATUS_OK : GOES_ON;
}

/* ---- the terminal's size ---- */

/* Tell the guest, if its console has one. Nobody waits for the answer: the session goes on without
 * qvmd. */
static void tell_size(const struct session *session)
{
    struct msg_console_size_params params = {.name = session->name};
    auto_client struct client client = CLIENT_CLOSED;
    struct winsize size;
    struct err err = {0};

    if (!session->is_terminal || session->options->read_only ||
        ioctl(STDIN_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0 ||
        size.ws_col > CELLS_MAX || size.ws_row > CELLS_MAX) {
        return;
    }
    params.port = lend(session->options->port);
    params.columns = size.ws_col;
    params.rows = size.ws_row;
    if (client_init(&client, session->cli, SIZE_MS, &err) == 0) {
        (void)client_send(&client, METHOD_console_size, &params, &err);
    }
}

/* ---- signals ---- */

/* Signals that end or stop us come through a descriptor, but for those that our parent silenced. */
static int take_signals(struct err *err)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH};
    struct sigaction before;
    sigset_t set;
    int fd;

    (void)signal(SIGPIPE, SIG_IGN); /* write() tells us */
    (void)sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN) {
            (void)sigaddset(&set, numbers[i]);
        }
    }
    (void)sigprocmask(SIG_BLOCK, &set, NULL); /* cannot fail */
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd >= 0 ? fd : err_set(err, -EIO, "signals cannot be read: %s", strerrordesc_np(errno));
}

static int on_signal(struct session *session)
{
    struct signalfd_siginfo info;
    struct err err;

    if (read(session->signals, &info, sizeof(info)) != (ssize_t)sizeof(info)) {
        return GOES_ON;
    }
    if (info.ssi_signo == SIGWINCH) {
        tell_size(session);
        return GOES_ON;
    }
    if (info.ssi_signo != SIGTSTP) {
        return 128 + (int)info.ssi_signo;
    }
    terminal_restore();
    (void)raise(SIGSTOP);
    return session->is_terminal && terminal_raw(STDIN_FILENO, &err) != 0 ? cli_fail(&err) : GOES_ON;
}

/* ---- the session ---- */

static int copy(struct session *session)
{
    int status = GOES_ON;

    while (status == GOES_ON) {
        bool has_typed = session->typed_at < session->typed_end;
        struct pollfd fds[] = {
            {.fd = session->signals, .events = POLLIN},
            {.fd = session->socket, .events = (short)(POLLIN | (has_typed ? POLLOUT : 0))},
            {.fd = session->is_typing && !has_typed ? STDIN_FILENO : -1, .events = POLLIN},
        };
        int r = poll(fds, ARRAY_LEN(fds), time_left(session));

        if (r == 0 && time_left(session) == 0) {
            return session->is_lingering ? STATUS_OK : STATUS_TIMEOUT;
        }
        if (r > 0 && fds[0].revents != 0) {
            status = on_signal(session);
        }
        if (r > 0 && status == GOES_ON && has_typed && (fds[1].revents & POLLOUT) != 0) {
            status = send_typed(session);
        }
        if (r > 0 && status == GOES_ON && (fds[1].revents & ~POLLOUT) != 0) {
            status = on_guest(session);
        }
        if (r > 0 && status == GOES_ON && fds[2].revents != 0) {
            status = on_typed(session);
        }
    }
    return status;
}

static void say_hello(const struct cli *cli, const char *name, int escape)
{
    if (cli->quiet) {
        return;
    }
    if (escape == CONSOLE_NO_ESCAPE) {
        (void)fprintf(stderr, "[console of guest '%s'; no key ends it]\n", name);
    } else {
        (void)fprintf(stderr, "[console of guest '%s'; %s%c ends it]\n", name,
                      escape < 0x20 ? "ctrl-" : "", escape < 0x20 ? escape | 0x40 : escape);
    }
}

/* What became of the guest, once that is known. False: nobody can tell. */
static bool tell_end(const struct cli *cli, char *name)
{
    struct msg_list_params one = {.names = &name, .names_count = 1};
    struct msg_wait_params rest = {
        .name = name, .state = STATE_stopped, .timeout_ms = END_MS, .or_rest = true};
    struct msg_guest_list list = {0};
    auto_reply struct msg_reply reply = {0};
    auto_client struct client client = CLIENT_CLOSED;
    struct err err = {0};
    bool is_known = false;

    if (client_init(&client, cli, 2 * END_MS, &err) == 0) {
        (void)client_call(&client, METHOD_wait, &rest, &reply, &err); /* the list says the same */
        is_known = client_ask(&client, METHOD_list, &one, &list, &err) == 0;
    }
    for (size_t i = 0; is_known && i < list.guests_count; i++) {
        const struct msg_guest *guest = &list.guests[i];
        const char *reason = words_name(&words_reason, guest->reason);

        (void)fprintf(stderr, "\n[guest '%s' is %s%s%s%s", name,
                      words_name(&words_state, guest->state), reason != NULL ? " (" : "",
                      reason != NULL ? reason : "", reason != NULL ? ")" : "");
        if (guest->message != NULL && *guest->message != '\0') {
            (void)fputs(": ", stderr);
            text_print(stderr, guest->message);
        }
        (void)fputs("]\n", stderr);
    }
    is_known = is_known && list.guests_count > 0;
    msg_fini(MSG_guest_list, &list);
    return is_known;
}

/* What to say when the session is over, the terminal given back. */
static void say_goodbye(const struct cli *cli, const struct session *session, char *name,
                        int status)
{
    if (status == STATUS_TIMEOUT) {
        (void)fprintf(stderr, "%sqvmctl: the time is over\n", session->is_terminal ? "\n" : "");
    } else if (session->is_terminal && !cli->quiet &&
               !(session->is_closed && tell_end(cli, name))) {
        (void)fprintf(stderr, "\n[left the console of guest '%s']\n", name);
    }
}

/* The socket of a new session, owned by the caller. */
static int attach(const struct cli *cli, char *name, const struct console_options *options,
                  struct err *err)
{
    struct msg_attach_params params = {.name = name,
                                       .read_only = options->read_only,
                                       .steal = options->steal,
                                       .no_scrollback = options->no_scrollback};
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    auto_reply struct msg_reply reply = {0};
    auto_client struct client client = CLIENT_CLOSED;
    int r = client_init(&client, cli, patience, err);

    params.port = lend(options->port);
    r = r == 0 ? client_call(&client, METHOD_attach, &params, &reply, err) : r;
    if (r != 0) {
        return r;
    }
    r = client_take_fd(&client);
    return r >= 0 ? r : err_set(err, -EPROTO, "qvmd gave no console with its answer");
}

int console_open(const struct cli *cli, char *name, const struct console_options *options)
{
    struct session session = {.cli = cli,
                              .name = name,
                              .options = options,
                              .is_typing = true,
                              .is_timed = cli->timeout_ms != 0};
    auto_close int socket = -1, signals = -1;
    struct err err = {0};
    int status;

    set_deadline(&session, cli->timeout_ms);
    socket = attach(cli, name, options, &err);
    if (socket < 0) {
        return cli_fail(&err);
    }
    signals = take_signals(&err);
    if (signals < 0) {
        return cli_fail(&err);
    }
    session.socket = socket;
    session.signals = signals;
    session.is_terminal = isatty(STDIN_FILENO) == 1;
    if (session.is_terminal) {
        say_hello(cli, name, options->escape);
        if (terminal_raw(STDIN_FILENO, &err) != 0) {
            return cli_fail(&err);
        }
    }
    (void)fflush(stdout); /* before write() */
    tell_size(&session);
    status = copy(&session);
    terminal_restore();
    say_goodbye(cli, &session, name, status);
    return status;
}
