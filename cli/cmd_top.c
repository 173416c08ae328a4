/* qvmctl top: figures of guests at a terminal, again and again; kill and console from within. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/screen.h"
#include "cli/top_view.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define INTERVAL_MS 2000
#define FIRST_MS    500 /* rates need two samples */
#define PATIENCE_MS 5000
#define HELP        "q quit  k kill  c console  sort: P cpu N name M memory E exits T time  R reverse"

static int64_t interval_ms, times;
static bool is_batch;
static const char *sort_name;

static const struct option_row options[] = {
    {"batch", 'b', OPTION_FLAG, {.flag = &is_batch}, NULL, "print, without a terminal"},
    {"interval", 'i', OPTION_SPAN, {.number = &interval_ms}, "SECONDS", "between two looks (2)"},
    {"times", 'n', OPTION_NUMBER, {.number = &times}, "COUNT", "so many looks; 0: for ever"},
    {"sort", 's', OPTION_TEXT, {.text = &sort_name}, "ORDER", "cpu, name, memory, exits or time"},
    {0},
};

struct top {
    const struct cli *cli;
    struct client client;
    struct top_view view;
    struct screen screen;
    char note[256];                    /* what happened; shown until the next key */
    char question[GUEST_NAME_MAX + 1]; /* the guest that is to be killed; empty: nobody asks */
    bool is_over;
    int status;
};

static volatile sig_atomic_t signal_seen, is_resumed;

static void on_signal(int number)
{
    if (number == SIGCONT) {
        is_resumed = 1;
    } else if (number != SIGWINCH) {
        signal_seen = number;
    }
}

static void take_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGCONT};
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: poll() shall end */

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        (void)sigaction(numbers[i], &action, NULL); /* cannot fail for these */
    }
}

/* ---- looking ---- */

static int ask(struct top *top, struct msg_stats_list *now, struct msg_info *info, struct err *err)
{
    struct msg_list_params all = {0};
    int r = 0;

    if (top->client.fd < 0) {
        r = client_init(&top->client, top->cli, PATIENCE_MS, err);
    } else {
        client_set_patience(&top->client, PATIENCE_MS);
    }
    if (r == 0) {
        r = client_ask(&top->client, METHOD_stats, &all, now, err);
    }
    if (r == 0) {
        r = client_ask(&top->client, METHOD_info, &(struct msg_none){}, info, err);
    }
    return r;
}

static int look(struct top *top, struct err *err)
{
    struct msg_stats_list now = {0};
    struct msg_info info = {0};
    int r = ask(top, &now, &info, err);

    if (r == 0) {
        r = top_view_take(&top->view, &now, &info);
        r = r == 0 ? 0 : err_set(err, r, "out of memory");
    } else {
        client_fini(&top->client); /* the next look connects anew */
        top->client = (struct client)CLIENT_CLOSED;
    }
    msg_fini(MSG_stats_list, &now);
    msg_fini(MSG_info, &info);
    return r;
}

static int draw(struct top *top)
{
    char question[GUEST_NAME_MAX + 64];
    const char *last = top->note[0] != '\0' ? top->note : HELP;

    if (top->question[0] != '\0') {
        (void)snprintf(question, sizeof(question), "Kill guest '%s', as by a power cut? (y/n)",
                       top->question);
        last = question;
    }
    if (screen_begin(&top->screen) < 0) {
        return -ENOMEM;
    }
    top_view_draw(&top->view, &top->screen, is_batch ? NULL : last);
    return screen_show(&top->screen);
}

/* ---- acting ---- */

static void kill_guest(struct top *top, char *name)
{
    struct msg_change_params params = {.name = name};
    auto_client struct client client = CLIENT_CLOSED;
    auto_reply struct msg_reply reply = {0};
    struct err err = {0};

    if (client_init(&client, top->cli, PATIENCE_MS, &err) == 0 &&
        client_call(&client, METHOD_kill, &params, &reply, &err) == 0) {
        (void)snprintf(top->note, sizeof(top->note), "%s: killed", name);
    } else {
        (void)snprintf(top->note, sizeof(top->note), "%s: %.180s", name, err.msg);
    }
}

/* A session in a child of ours: what it does to signals and the terminal ends with it. */
static void open_console(struct top *top)
{
    static const struct console_options session = {.escape = CONSOLE_ESCAPE};
    struct err err = {0};
    int status = 0;
    pid_t pid;

    screen_leave();
    pid = fork();
    if (pid == 0) {
        exit(console_open(top->cli, top->view.selected, &session));
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        /* what a terminal sends to all of us is the session's */
    }
    signal_seen = 0;
    if (screen_enter(&top->screen, &err) < 0) {
        top->is_over = true;
    }
    (void)snprintf(top->note, sizeof(top->note),
                   pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == STATUS_OK
                       ? "the console was left"
                       : "the console ended with status %d",
                   WIFEXITED(status) ? WEXITSTATUS(status) : STATUS_FAILED);
}

static void sort_by(struct top *top, enum top_order order)
{
    top->view.order = order;
    top_view_sort(&top->view);
}

static void move_to(struct top *top, ssize_t by)
{
    ssize_t row = (ssize_t)top_view_selected(&top->view) + by;

    top_view_select(&top->view, row > 0 ? (size_t)row : 0);
}

static void on_answer(struct top *top, char key)
{
    if (key == 'y' || key == 'Y') {
        kill_guest(top, top->question);
    }
    top->question[0] = '\0';
}

static void on_letter(struct top *top, char key)
{
    switch (key) {
    case 'q':
        top->is_over = true;
        break;
    case 3: /* ctrl-C, which a raw terminal hands over as it is */
        top->is_over = true;
        top->status = STATUS_INTERRUPTED;
        break;
    case 'k':
        (void)top_view_selected(&top->view);
        (void)strcpy(top->question, top->view.count > 0 ? top->view.selected : "");
        break;
    case 'c':
        if (top->view.count > 0) {
            (void)top_view_selected(&top->view);
            open_console(top);
        }
        break;
    case 'P':
        sort_by(top, TOP_BY_CPU);
        break;
    case 'N':
        sort_by(top, TOP_BY_NAME);
        break;
    case 'M':
        sort_by(top, TOP_BY_MEMORY);
        break;
    case 'E':
        sort_by(top, TOP_BY_EXITS);
        break;
    case 'T':
        sort_by(top, TOP_BY_TIME);
        break;
    case 'R':
        top->view.is_reversed = !top->view.is_reversed;
        top_view_sort(&top->view);
        break;
    default:
        break;
    }
}

/* What was typed at once; arrows and pages come as ESC [ and more. */
static void on_keys(struct top *top, const char *keys, size_t size)
{
    for (size_t i = 0; i < size && !top->is_over; i++) {
        top->note[0] = '\0';
        if (top->question[0] != '\0') {
            on_answer(top, keys[i]);
        } else if (keys[i] == '\033' && i + 2 < size &&
                   (keys[i + 1] == '[' || keys[i + 1] == 'O')) {
            i += 2;
            move_to(top, keys[i] == 'A'   ? -1
                         : keys[i] == 'B' ? 1
                         : keys[i] == '5' ? -top->screen.rows
                         : keys[i] == '6' ? top->screen.rows
                                          : 0);
        } else {
            on_letter(top, keys[i]);
        }
    }
}

/* ---- the loop ---- */

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* Draw, and do what is typed, until it is time to look again. */
static void wait_and_obey(struct top *top, int64_t until_ms)
{
    while (!top->is_over && signal_seen == 0) {
        struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
        int64_t left = until_ms - now_ms();
        char keys[64];
        ssize_t size;

        if (is_resumed) {
            is_resumed = 0;
            (void)screen_enter(&top->screen, NULL); /* whoever stopped us may have changed it */
        }
        top->is_over = draw(top) < 0;
        if (left <= 0 || top->is_over || poll(&in, 1, (int)left) <= 0) {
            if (left <= 0) {
                return;
            }
            continue; /* a signal, or the time */
        }
        size = read(STDIN_FILENO, keys, sizeof(keys));
        if (size > 0) {
            on_keys(top, keys, (size_t)size);
        } else if (size == 0 || errno != EINTR) {
            top->is_over = true; /* the terminal is gone */
        }
    }
}

static int run_screen(struct top *top, struct err *err)
{
    int r = screen_enter(&top->screen, err);
    int64_t step = interval_ms != 0 ? interval_ms : INTERVAL_MS, wait = FIRST_MS;

    take_signals();
    for (int64_t i = 0; r == 0 && !top->is_over && signal_seen == 0; i++) {
        struct err why = {0};

        if (times != 0 && i == times) {
            break;
        }
        if (look(top, &why) < 0) {
            (void)snprintf(top->note, sizeof(top->note), "%.250s", why.msg);
        }
        wait_and_obey(top, now_ms() + (wait < step ? wait : step));
        wait = step;
    }
    screen_leave();
    if (signal_seen != 0) {
        top->status = 128 + (int)signal_seen;
    }
    return r;
}

static int run_batch(struct top *top, struct err *err)
{
    int64_t step = interval_ms != 0 ? interval_ms : INTERVAL_MS;
    int r = 0;

    top->screen.is_plain = true;
    for (int64_t i = 0; r == 0 && (times == 0 || i < times); i++) {
        if (i > 0) {
            (void)poll(NULL, 0, (int)step); /* a signal ends us */
        }
        r = look(top, err);
        if (r == 0 && ((i > 0 && write(STDOUT_FILENO, "\n", 1) != 1) || draw(top) < 0)) {
            r = err_set(err, -EIO, "the output cannot be written");
        }
    }
    return r;
}

static int set_order(struct top *top)
{
    for (int i = 0; sort_name != NULL && i < TOP_ORDERS; i++) {
        if (strcmp(sort_name, top_order_names[i]) == 0) {
            top->view.order = (enum top_order)i;
            return 0;
        }
    }
    return sort_name == NULL
               ? 0
               : cli_usage("--sort wants cpu, name, memory, exits or time, not '%s'", sort_name);
}

static int run(const struct cli *cli, int argc, char **argv)
{
    struct top top = {.cli = cli, .client = CLIENT_CLOSED};
    struct err err = {0};
    int r = set_order(&top);

    (void)argc, (void)argv;
    if (r != 0) {
        return r;
    }
    if (!is_batch && (isatty(STDIN_FILENO) == 0 || isatty(STDOUT_FILENO) == 0)) {
        return cli_usage("top wants a terminal; -b prints without one");
    }
    if (!is_batch) { /* what is wrong from the beginning is said, not shown */
        r = look(&top, &err);
    }
    if (r == 0) {
        r = is_batch ? run_batch(&top, &err) : run_screen(&top, &err);
    }
    client_fini(&top.client);
    screen_fini(&top.screen);
    top_view_fini(&top.view);
    return r != 0 ? cli_fail(&err) : top.status;
}

const struct command command_top = {
    .name = "top",
    .synopsis = "[-s ORDER] [-i SECONDS] [-n COUNT] [-b]",
    .help = "figures of guests at a terminal; kill and console from within",
    .options = options,
    .formats = FORMATS_TABLE,
    .run = run,
};
