/* Regions shared with guests, for programs of the host: one handle, one connection to qvmd.
 *
 * Who is hostile shares the bells' open files with us, and can make a read of ours or a write to
 * one wait. So a bell is never read: it wakes by its edges. And it is rung only when it has room,
 * which one that is not at its end always has. */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "lib/link.h"

#include <qvm/shmem.h>

#define SOCKET_DEFAULT "/run/qvm/qvmd.sock"
#define SOCKET_ENV     "QVM_SOCKET"
#define JOIN_MS        10000
#define AGAIN_FIRST_MS 50 /* until qvmd is looked for, when it has gone */
#define AGAIN_LAST_MS  1000
#define EVENTS_MAX     3
#define CLIENTS_MASK   ((1u << SHMEM_CLIENTS) - 1)

_Static_assert(QVM_SHMEM_CLIENTS == SHMEM_CLIENTS, "the same regions");
_Static_assert(QVM_SHMEM_NAME_MAX == SHMEM_NAME_MAX, "the same names");

struct qvm_shmem {
    struct link link;
    struct sockaddr_un address;
    char region[SHMEM_NAME_MAX + 1];
    int epoll, timer;
    int bells[SHMEM_CLIENTS];
    void *memory;
    struct shmem_board *board;
    uint64_t size;
    ino_t inode;
    unsigned client, again_ms;
    enum qvm_shmem_state state;
    struct qvm_shmem_news told;
};

/* Say it to whoever joins; returns `code`. */
static int fail(char *message, int code, const char *words, const char *what)
{
    if (message != NULL) {
        (void)snprintf(message, QVM_SHMEM_MESSAGE_SIZE, words, what);
    }
    return code;
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd); /* nothing was written that could be lost */
    }
    *fd = -1;
}

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* ---- what qvmd says ---- */

struct answer {
    bool is_joined;
    unsigned client;
    uint64_t size;
    int code; /* why not, negative */
    char message[QVM_SHMEM_MESSAGE_SIZE];
};

static int code_of(const char *name)
{
    static const struct {
        const char *name;
        int code;
    } rows[] = {
        {"no-such-region", -ENODATA}, {"not-permitted", -EPERM}, {"access-denied", -EPERM},
        {"too-many", -EAGAIN},        {"busy", -EBUSY},          {"invalid-params", -EINVAL},
        {"insufficient", -ENOSPC},    {"cancelled", -ENOTCONN},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strcmp(rows[i].name, name) == 0) {
            return rows[i].code;
        }
    }
    return -EPROTO;
}

static bool are_complete(const struct link *link)
{
    return link->fd_count == SHMEM_FD_COUNT;
}

/* 1: it is the answer; 0: it is something else, that needs none. */
static int read_answer(const struct link *link, struct reply_value line, struct answer *answer)
{
    struct reply_value result = reply_member(line, "result"), error = reply_member(line, "error");
    char name[64];

    *answer = (struct answer){.code = -EPROTO, .message = "that is no answer of a qvmd"};
    if (error.start != NULL) {
        reply_text(reply_member(reply_member(error, "data"), "name"), name, sizeof(name));
        reply_text(reply_member(error, "message"), answer->message, sizeof(answer->message));
        answer->code = code_of(name);
        return 1;
    }
    if (result.start == NULL) {
        return 0;
    }
    answer->client = (unsigned)reply_number(reply_member(result, "client"), SHMEM_CLIENTS);
    answer->size = (uint64_t)reply_number(reply_member(result, "size"), 0);
    answer->is_joined = answer->client < SHMEM_CLIENTS && answer->size > 0 &&
                        answer->size % SHMEM_PAGE == 0 && are_complete(link);
    return 1;
}

/* ---- joining ---- */

static int set_address(struct sockaddr_un *address, const char *path)
{
    const char *env = getenv(SOCKET_ENV);

    path = path != NULL ? path : env != NULL && *env != '\0' ? env : SOCKET_DEFAULT;
    if (*path == '\0' || strlen(path) >= sizeof(address->sun_path)) {
        return -EINVAL;
    }
    address->sun_family = AF_UNIX;
    (void)strcpy(address->sun_path, path); /* fits, see above */
    return 0;
}

static int watch(const struct qvm_shmem *shmem, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};

    return epoll_ctl(shmem->epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static void *map(int fd, uint64_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    return at != MAP_FAILED ? at : NULL;
}

static ino_t inode_of(int fd)
{
    struct stat stat;

    return fstat(fd, &stat) == 0 ? stat.st_ino : 0;
}

/* Take what came with the answer. */
static int take(struct qvm_shmem *shmem, const struct answer *answer)
{
    struct link *link = &shmem->link;

    shmem->size = answer->size;
    shmem->client = answer->client;
    shmem->inode = inode_of(link->fds[SHMEM_FD_MEMORY]);
    shmem->memory = map(link->fds[SHMEM_FD_MEMORY], answer->size);
    shmem->board = map(link->fds[SHMEM_FD_BOARD], SHMEM_BOARD_SIZE);
    for (size_t i = 0; i < SHMEM_CLIENTS; i++) {
        shmem->bells[i] = link->fds[SHMEM_FD_BELLS + i];
        link->fds[SHMEM_FD_BELLS + i] = -1;
    }
    close_fd(&link->fds[SHMEM_FD_MEMORY]); /* mapped */
    close_fd(&link->fds[SHMEM_FD_BOARD]);
    link->fd_count = 0;
    if (shmem->memory == NULL || shmem->board == NULL || shmem->inode == 0) {
        return -ENOMEM;
    }
    return watch(shmem, shmem->bells[answer->client], EPOLLIN | EPOLLET);
}

static int fail_connect(const struct qvm_shmem *shmem, int code, char *message)
{
    const char *path = shmem->address.sun_path;

    switch (code) {
    case -EACCES:
    case -EPERM:
        return fail(message, -EPERM, "qvmd's socket '%s' may not be opened by this user", path);
    case -EAGAIN:
        return fail(message, -EAGAIN, "qvmd at '%s' has too many who wait for it", path);
    default:
        return fail(message, -ENOTCONN, "no qvmd listens at the socket '%s'", path);
    }
}

/* Wait for the answer to the first request. */
static int await_answer(struct qvm_shmem *shmem, uint32_t timeout_ms, struct answer *answer,
                        char *message)
{
    int64_t deadline = now_ms() + (timeout_ms != 0 ? timeout_ms : JOIN_MS);
    struct pollfd pollfd = {.fd = shmem->link.fd, .events = POLLIN};
    struct reply_value line;
    int r;

    for (;;) {
        int64_t left = deadline - now_ms();

        r = link_read(&shmem->link, &line);
        if (r < 0) {
            return fail(message, r, "qvmd at '%s' hung up", shmem->address.sun_path);
        }
        if (r == 1 && read_answer(&shmem->link, line, answer) == 1) {
            return 0;
        }
        if (r == 0 && left <= 0) {
            return fail(message, -ETIMEDOUT, "qvmd at '%s' did not answer in time",
                        shmem->address.sun_path);
        }
        if (r == 0) {
            (void)poll(&pollfd, 1, left < INT32_MAX ? (int)left : INT32_MAX);
        }
    }
}

static int join(struct qvm_shmem *shmem, const struct qvm_shmem_options *options, char *message)
{
    const struct link_wish wish = {.region = shmem->region, .size = options->bytes};
    struct answer answer = {0};
    int r = link_open(&shmem->link, &shmem->address);

    if (r < 0) {
        return fail_connect(shmem, r, message);
    }
    r = link_ask(&shmem->link, &wish);
    r = r == 0 ? await_answer(shmem, options->timeout_ms, &answer, message)
               : fail(message, r, "qvmd at '%s' hung up", shmem->address.sun_path);
    if (r < 0) {
        return r;
    }
    if (!answer.is_joined) {
        return fail(message, answer.code, "%s", answer.message);
    }
    r = take(shmem, &answer);
    if (r == 0) {
        r = watch(shmem, shmem->link.fd, EPOLLIN | EPOLLRDHUP);
    }
    return r == 0 ? 0 : fail(message, r, "region '%s' cannot be mapped", shmem->region);
}

static struct qvm_shmem *create(void)
{
    struct qvm_shmem *shmem = calloc(1, sizeof(*shmem));

    if (shmem == NULL) {
        return NULL;
    }
    shmem->again_ms = AGAIN_FIRST_MS;
    link_init(&shmem->link);
    memset(shmem->bells, -1, sizeof(shmem->bells));
    shmem->epoll = epoll_create1(EPOLL_CLOEXEC);
    shmem->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (shmem->epoll < 0 || shmem->timer < 0 || watch(shmem, shmem->timer, EPOLLIN) < 0) {
        qvm_shmem_leave(shmem);
        return NULL;
    }
    return shmem;
}

int qvm_shmem_join(const char *region, const struct qvm_shmem_options *options,
                   struct qvm_shmem **result, char message[QVM_SHMEM_MESSAGE_SIZE])
{
    static const struct qvm_shmem_options usual = {.size = sizeof(usual)};
    struct qvm_shmem *shmem;
    int r;

    options = options != NULL ? options : &usual;
    if (options->size < sizeof(*options)) {
        return fail(message, -EINVAL, "%s", "the options have no size");
    }
    if (!shmem_is_name(region)) {
        return fail(message, -EINVAL, "%s",
                    "a region's name has 1 to 32 letters, digits, '.', '-' and '_'");
    }
    shmem = create();
    if (shmem == NULL) {
        return fail(message, -ENOMEM, "%s", "no memory or no descriptor is left");
    }
    (void)snprintf(shmem->region, sizeof(shmem->region), "%s", region);
    r = set_address(&shmem->address, options->socket);
    r = r == 0 ? join(shmem, options, message)
               : fail(message, r, "%s", "the path of qvmd's socket is empty or too long");
    if (r < 0) {
        qvm_shmem_leave(shmem);
        return r;
    }
    *result = shmem;
    return 0;
}

void qvm_shmem_leave(struct qvm_shmem *shmem)
{
    if (shmem == NULL) {
        return;
    }
    link_close(&shmem->link);
    if (shmem->memory != NULL) {
        (void)munmap(shmem->memory, shmem->size);
    }
    if (shmem->board != NULL) {
        (void)munmap(shmem->board, SHMEM_BOARD_SIZE);
    }
    for (size_t i = 0; i < SHMEM_CLIENTS; i++) {
        close_fd(&shmem->bells[i]);
    }
    close_fd(&shmem->timer);
    close_fd(&shmem->epoll);
    free(shmem);
}

void *qvm_shmem_memory(const struct qvm_shmem *shmem)
{
    return shmem->memory;
}

uint64_t qvm_shmem_size(const struct qvm_shmem *shmem)
{
    return shmem->size;
}

unsigned qvm_shmem_client(const struct qvm_shmem *shmem)
{
    return shmem->client;
}

int qvm_shmem_fd(const struct qvm_shmem *shmem)
{
    return shmem->epoll;
}

void qvm_shmem_notify(const struct qvm_shmem *shmem, uint32_t clients)
{
    const uint64_t one = 1;

    for (unsigned i = 0; i < SHMEM_CLIENTS; i++) {
        struct pollfd pollfd = {.fd = shmem->bells[i], .events = POLLOUT};

        if ((clients >> i & 1) == 0) {
            continue;
        }
        (void)__atomic_fetch_or(&shmem->board->pending[i], 1u << shmem->client, __ATOMIC_SEQ_CST);
        if (poll(&pollfd, 1, 0) == 1 && (pollfd.revents & POLLOUT) != 0) {
            (void)!write(pollfd.fd, &one, sizeof(one)); /* full meanwhile: it rings */
        }
    }
}

/* ---- qvmd goes and comes ---- */

static void look_again(struct qvm_shmem *shmem)
{
    const struct itimerspec when = {
        .it_value = {.tv_sec = shmem->again_ms / 1000,
                     .tv_nsec = (long)(shmem->again_ms % 1000) * 1000000}};

    link_close(&shmem->link); /* which epoll forgets with it */
    shmem->state = QVM_SHMEM_ALONE;
    (void)timerfd_settime(shmem->timer, 0, &when, NULL); /* cannot fail */
    shmem->again_ms = shmem->again_ms * 2 < AGAIN_LAST_MS ? shmem->again_ms * 2 : AGAIN_LAST_MS;
}

static void on_timer(struct qvm_shmem *shmem)
{
    const struct link_wish wish = {
        .region = shmem->region, .memory = shmem->inode, .client = shmem->client};
    uint64_t count;

    (void)!read(shmem->timer, &count, sizeof(count)); /* it is ours, and does not wait */
    if (shmem->state == QVM_SHMEM_ALONE && shmem->link.fd < 0 &&
        (link_open(&shmem->link, &shmem->address) < 0 || link_ask(&shmem->link, &wish) < 0 ||
         watch(shmem, shmem->link.fd, EPOLLIN | EPOLLRDHUP) < 0)) {
        look_again(shmem);
    }
}

/* A new qvmd has answered whether we are what we were. */
static void on_answer(struct qvm_shmem *shmem, const struct answer *answer)
{
    bool is_same = answer->is_joined && answer->client == shmem->client &&
                   inode_of(shmem->link.fds[SHMEM_FD_MEMORY]) == shmem->inode;

    for (size_t i = 0; i < SHMEM_FD_COUNT; i++) {
        close_fd(&shmem->link.fds[i]); /* of which we have our own */
    }
    shmem->link.fd_count = 0;
    if (is_same) {
        shmem->state = QVM_SHMEM_JOINED;
        shmem->again_ms = AGAIN_FIRST_MS;
    } else if (!answer->is_joined && (answer->code == -EAGAIN || answer->code == -ENOTCONN)) {
        look_again(shmem);
    } else {
        link_close(&shmem->link);
        shmem->state = QVM_SHMEM_LOST;
    }
}

static void on_link(struct qvm_shmem *shmem)
{
    struct reply_value line;
    struct answer answer;
    int r;

    while (shmem->link.fd >= 0 && (r = link_read(&shmem->link, &line)) != 0) {
        if (r < 0) {
            look_again(shmem);
        } else if (shmem->state == QVM_SHMEM_ALONE &&
                   read_answer(&shmem->link, line, &answer) == 1) {
            on_answer(shmem, &answer);
        } /* else somebody came or went: the board says who */
    }
}

int qvm_shmem_take(struct qvm_shmem *shmem, struct qvm_shmem_news *news)
{
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(shmem->epoll, events, EVENTS_MAX, 0);
    struct qvm_shmem_news now = {.size = news->size};
    bool is_new;

    for (int i = 0; i < count; i++) {
        if (events[i].data.fd == shmem->timer) {
            on_timer(shmem);
        } else if (events[i].data.fd == shmem->link.fd) {
            on_link(shmem);
        }
    }
    now.signals = CLIENTS_MASK &
                  __atomic_exchange_n(&shmem->board->pending[shmem->client], 0, __ATOMIC_SEQ_CST);
    now.attached = CLIENTS_MASK & __atomic_load_n(&shmem->board->attached, __ATOMIC_SEQ_CST);
    now.state = shmem->state;
    is_new =
        now.signals != 0 || now.attached != shmem->told.attached || now.state != shmem->told.state;
    shmem->told = now;
    *news = now;
    return is_new ? 1 : 0;
}

int qvm_shmem_wait(struct qvm_shmem *shmem, int timeout_ms, struct qvm_shmem_news *news)
{
    int64_t deadline = now_ms() + timeout_ms;
    struct pollfd pollfd = {.fd = shmem->epoll, .events = POLLIN};

    for (;;) {
        int64_t left = timeout_ms < 0 ? -1 : deadline - now_ms();

        if (qvm_shmem_take(shmem, news) == 1) {
            return 0;
        }
        if (timeout_ms >= 0 && left <= 0) {
            return -ETIMEDOUT;
        }
        if (poll(&pollfd, 1, (int)left) < 0) {
            return -errno;
        }
    }
}
