/* Prometheus text over HTTP on a Unix socket. */
#include "daemon/metrics/scrape.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/metrics/metrics.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define BACKLOG   128
#define HEAD_SIZE 256

struct scraper {
    LIST_ENTRY(scraper) link;
    struct scrape *scrape;
    uv_pipe_t pipe;
    uv_timer_t timer;
    uv_write_t write;
    int open_handles;
    bool is_asked;  /* the request is complete; nothing more is read of it */
    bool is_closed; /* going; it waits for its handles, and for the answer that is due */
    bool is_due;    /* the owner will answer */
    size_t used;
    char request[SCRAPE_REQUEST_MAX + 1];
    char head[HEAD_SIZE];
    char *text;
};

struct scrape {
    uv_pipe_t pipe;
    char *path;
    scrape_fn on_scrape;
    void *context;
    LIST_HEAD(, scraper) scrapers;
    size_t count;   /* of those that are not closed, or wait for the owner's answer */
    bool is_closed; /* freed with its last scraper */
};

static void free_scrape(struct scrape *scrape)
{
    if (scrape->is_closed && LIST_EMPTY(&scrape->scrapers)) {
        free(scrape->path);
        free(scrape);
    }
}

static void free_scraper(struct scraper *scraper)
{
    struct scrape *scrape = scraper->scrape;

    if (scraper->open_handles > 0 || scraper->is_due) {
        return;
    }
    LIST_REMOVE(scraper, link);
    free(scraper->text);
    free(scraper);
    free_scrape(scrape);
}

static void on_closed(uv_handle_t *handle)
{
    struct scraper *scraper = handle->data;

    scraper->open_handles--;
    free_scraper(scraper);
}

static void cut(struct scraper *scraper)
{
    if (!scraper->is_closed) {
        scraper->is_closed = true;
        scraper->scrape->count -= !scraper->is_due; /* before the other side can know */
        uv_close((uv_handle_t *)&scraper->pipe, on_closed);
        uv_close((uv_handle_t *)&scraper->timer, on_closed);
    }
}

static void on_late(uv_timer_t *timer)
{
    cut(timer->data);
}

static void on_written(uv_write_t *write, int status)
{
    (void)status; /* over in any case */
    cut(write->data);
}

static void answer(struct scraper *scraper, const char *status, const char *type)
{
    size_t size = scraper->text != NULL ? strlen(scraper->text) : 0;
    uv_buf_t parts[2];

    (void)snprintf(scraper->head, sizeof(scraper->head),
                   "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                   "Connection: close\r\n\r\n",
                   status, type, size);
    parts[0] = uv_buf_init(scraper->head, (unsigned)strlen(scraper->head));
    parts[1] = uv_buf_init(scraper->text, (unsigned)size);
    scraper->write.data = scraper;
    if (uv_write(&scraper->write, (uv_stream_t *)&scraper->pipe, parts, size > 0 ? 2 : 1,
                 on_written) != 0) {
        cut(scraper);
    }
}

static void refuse(struct scraper *scraper, const char *status)
{
    scraper->text = NULL;
    answer(scraper, status, "text/plain");
}

void scrape_answer(struct scraper *scraper, char *text)
{
    scraper->is_due = false;
    scraper->text = text;
    if (scraper->is_closed) {
        scraper->scrape->count--;
        free_scraper(scraper);
    } else if (text == NULL) {
        refuse(scraper, "503 Service Unavailable");
    } else {
        answer(scraper, "200 OK", METRICS_CONTENT_TYPE);
    }
}

/* The request's first line: GET of `/` or `/metrics`, with whatever question behind it. */
static void obey(struct scraper *scraper)
{
    char *method = scraper->request, *path, *version;

    scraper->is_asked = true;
    method[strcspn(method, "\r\n")] = '\0';
    path = strchr(method, ' ');
    version = path != NULL ? strchr(path + 1, ' ') : NULL;
    if (version == NULL || strncmp(version + 1, "HTTP/1.", 7) != 0) {
        refuse(scraper, "400 Bad Request");
        return;
    }
    *path++ = '\0';
    *version = '\0';
    path[strcspn(path, "?")] = '\0';
    if (strcmp(method, "GET") != 0) {
        refuse(scraper, "405 Method Not Allowed");
    } else if (strcmp(path, "/metrics") != 0 && strcmp(path, "/") != 0) {
        refuse(scraper, "404 Not Found");
    } else {
        scraper->is_due = true;
        scraper->scrape->on_scrape(scraper->scrape->context, scraper);
    }
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct scraper *scraper = handle->data;

    (void)suggested;
    *buffer = uv_buf_init(scraper->request + scraper->used,
                          (unsigned)(SCRAPE_REQUEST_MAX - scraper->used));
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct scraper *scraper = stream->data;

    (void)buffer;
    if (size == UV_ENOBUFS) {
        scraper->is_asked = true;
        (void)uv_read_stop(stream); /* cannot fail */
        refuse(scraper, "431 Request Header Fields Too Large");
        return;
    }
    if (size < 0) {
        cut(scraper);
        return;
    }
    scraper->used += (size_t)size;
    scraper->request[scraper->used] = '\0';
    if (strstr(scraper->request, "\r\n\r\n") != NULL || strstr(scraper->request, "\n\n") != NULL) {
        (void)uv_read_stop(stream); /* cannot fail */
        obey(scraper);
    }
}

static void on_refused(uv_handle_t *handle)
{
    free(handle);
}

/* There are too many: take the connection and close it, so that it does not wait for ever. */
static void turn_away(struct scrape *scrape)
{
    uv_pipe_t *pipe = calloc(1, sizeof(*pipe));

    if (pipe != NULL) {
        (void)uv_pipe_init(scrape->pipe.loop, pipe, 0); /* cannot fail */
        (void)uv_accept((uv_stream_t *)&scrape->pipe, (uv_stream_t *)pipe);
        uv_close((uv_handle_t *)pipe, on_refused);
    }
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct scrape *scrape = stream->data;
    struct scraper *scraper = NULL;

    if (status == 0 && scrape->count < SCRAPE_CLIENTS_MAX) {
        scraper = calloc(1, sizeof(*scraper));
    }
    if (scraper == NULL) {
        turn_away(scrape);
        return;
    }
    scraper->scrape = scrape;
    (void)uv_pipe_init(stream->loop, &scraper->pipe, 0); /* cannot fail */
    (void)uv_timer_init(stream->loop, &scraper->timer);  /* cannot fail */
    scraper->open_handles = 2;
    scraper->pipe.data = scraper->timer.data = scraper;
    LIST_INSERT_HEAD(&scrape->scrapers, scraper, link);
    scrape->count++;
    (void)uv_timer_start(&scraper->timer, on_late, SCRAPE_MS, 0); /* cannot fail */
    if (uv_accept(stream, (uv_stream_t *)&scraper->pipe) != 0 ||
        uv_read_start((uv_stream_t *)&scraper->pipe, on_room, on_read) != 0) {
        cut(scraper);
    }
}

/* ---- the socket ---- */

static int make_socket(const char *path, gid_t gid, int *result, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool is_for_all = gid == (gid_t)-1;
    struct stat st;
    mode_t mask;
    int r;

    if (fd < 0) {
        return err_sys(err, -errno, "cannot make a socket");
    }
    if (strlen(path) >= sizeof(address.sun_path)) {
        return err_set(err, -EINVAL, "the path of the metrics socket is longer than %zu bytes",
                       sizeof(address.sun_path) - 1);
    }
    (void)strcpy(address.sun_path, path); /* fits, see above */
    if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
        return err_set(err, -EEXIST, "'%s' is there and is no socket; metrics are not put there",
                       path);
    }
    if (unlink(path) < 0 && errno != ENOENT) {
        return err_sys(err, -errno, "cannot remove the old socket '%s'", path);
    }
    mask = umask(is_for_all ? 0177 : 0117);
    r = bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
    (void)umask(mask);
    if (r == 0 && !is_for_all && lchown(path, (uid_t)-1, gid) < 0) {
        r = -errno;
    }
    if (r < 0) {
        return err_sys(err, r, "cannot listen at '%s'", path);
    }
    *result = take_fd(&fd);
    return 0;
}

static void on_scrape_closed(uv_handle_t *handle)
{
    struct scrape *scrape = handle->data;

    scrape->is_closed = true;
    free_scrape(scrape);
}

int scrape_create(struct uv_loop_s *loop, const char *path, gid_t gid, scrape_fn on_scrape,
                  void *context, struct scrape **result, struct err *err)
{
    struct scrape *scrape = calloc(1, sizeof(*scrape));
    auto_close int fd = -1;
    int r;

    if (scrape == NULL || (scrape->path = strdup(path)) == NULL) {
        free(scrape);
        return err_set(err, -ENOMEM, "out of memory");
    }
    scrape->on_scrape = on_scrape;
    scrape->context = context;
    LIST_INIT(&scrape->scrapers);
    r = make_socket(path, gid, &fd, err);
    if (r < 0) {
        free(scrape->path);
        free(scrape);
        return r;
    }
    (void)uv_pipe_init(loop, &scrape->pipe, 0); /* cannot fail */
    scrape->pipe.data = scrape;
    r = uv_pipe_open(&scrape->pipe, fd);
    if (r == 0) {
        (void)take_fd(&fd);
        r = uv_listen((uv_stream_t *)&scrape->pipe, BACKLOG, on_connection);
    }
    if (r < 0) {
        scrape_destroy(scrape);
        return err_sys(err, r, "cannot listen at '%s'", path);
    }
    *result = scrape;
    return 0;
}

void scrape_destroy(struct scrape *scrape)
{
    struct scraper *scraper;

    if (scrape == NULL) {
        return;
    }
    LIST_FOREACH(scraper, &scrape->scrapers, link)
    {
        cut(scraper);
    }
    (void)unlink(scrape->path); /* somebody may have removed it already */
    uv_close((uv_handle_t *)&scrape->pipe, on_scrape_closed);
}
