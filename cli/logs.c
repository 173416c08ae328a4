/* What guests had to say: one question of each on the way, on one connection. */
#include "cli/logs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/names.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define LINES_FOLLOWED 10    /* shown first by --follow */
#define WAIT_MS        60000 /* one question of --follow */
#define AGAIN_MS       200   /* between two looks for a qvmd that is gone */
#define GONE_MS        60000 /* how long it is looked for */

/* The log of one guest. */
struct reader {
    struct logs_line line;
    char *name;
    int64_t offset; /* of what comes next; 0: nothing was read yet */
    int64_t stop;   /* at which it is all read; -1: never */
    int64_t asked;  /* id of the question that is on the way; 0: none */
    bool is_over;
};

struct reading {
    const struct cli *cli;
    const struct logs_wanted *wanted;
    struct client client;
    struct names names;
    struct reader *readers; /* one for each name */
    int64_t lines;
    size_t over, failed;
    int status;     /* of the last that failed */
    int64_t end_ms; /* when the time is over; 0: never */
};

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static void reading_fini(struct reading *reading)
{
    client_fini(&reading->client);
    names_fini(&reading->names);
    free(reading->readers);
}

static int connect_to(struct reading *reading, struct err *err)
{
    int64_t patience = CLIENT_READ_MS;

    if (reading->end_ms != 0) {
        patience = reading->end_ms - now_ms();
        patience = patience > 0 ? patience : 1;
    }
    return client_init(&reading->client, reading->cli, patience, err);
}

/* ---- questions ---- */

/* The next one of this guest: how long it may wait for something to come. */
static int ask(struct reading *reading, struct reader *reader, struct err *err)
{
    const struct logs_wanted *wanted = reading->wanted;
    int64_t left = reading->end_ms != 0 ? reading->end_ms - now_ms() : WAIT_MS;
    struct msg_log_params params = {.name = reader->name,
                                    .console = wanted->console,
                                    .offset = reader->offset,
                                    .size = wanted->size,
                                    .lines = reading->lines};
    int r;

    if (left <= 0) {
        return err_set(err, -ETIMEDOUT, "the time is over");
    }
    if (reader->stop < 0 && reader->offset != 0) {
        params.wait_ms = left < WAIT_MS ? left : WAIT_MS;
        client_set_patience(&reading->client, WAIT_MS + CLIENT_GRACE_MS);
    } else {
        client_set_patience(&reading->client, reading->end_ms != 0 ? left : CLIENT_READ_MS);
    }
    r = client_send(&reading->client, METHOD_log, &params, err);
    reader->asked = reading->client.last_id;
    return r;
}

static int ask_all(struct reading *reading, struct err *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < reading->names.count; i++) {
        if (!reading->readers[i].is_over) {
            r = ask(reading, &reading->readers[i], err);
        }
    }
    return r;
}

/* ---- answers ---- */

static void end_reader(struct reading *reading, struct reader *reader)
{
    logs_print_end(&reader->line);
    reader->is_over = true;
    reading->over++;
}

/* As it came, and whose it is where that is not plain. */
static void print_json(const struct reader *reader, const struct msg_reply *reply)
{
    auto_free char *text = msg_reply_text(reply);

    if (reader->line.name == NULL || text == NULL || text[0] != '{') {
        (void)puts(text != NULL ? text : "null"); /* main() looks at stdout's errors */
    } else {
        (void)printf("{\"name\":\"%s\",%s\n", reader->name, text + 1);
    }
}

static int show(struct reading *reading, struct reader *reader, const struct msg_log_data *log,
                const struct msg_reply *reply)
{
    if (reading->cli->format != FORMAT_TABLE) {
        print_json(reader, reply);
    } else {
        if (log->lost > 0) {
            logs_print_lost(&reader->line, log->lost);
        }
        logs_print(&reader->line, log->data, log->data_size);
    }
    return fflush(stdout) == 0 ? 0 : -EPIPE; /* main() says it */
}

static int take_log(struct reading *reading, struct reader *reader, const struct msg_reply *reply,
                    struct err *err)
{
    struct msg_log_data log = {0};
    bool is_first = reader->offset == 0;
    int r = msg_reply_read(reply, MSG_log_data, &log, err);

    if (r != 0) {
        return r;
    }
    if (is_first && !reading->wanted->follow) {
        reader->stop = log.end;
    }
    if (log.data_size > 0 || reader->stop >= 0) {
        r = show(reading, reader, &log, reply);
    }
    reader->offset = log.next;
    msg_fini(MSG_log_data, &log);
    if (r == 0 && reader->stop >= 0 && reader->offset >= reader->stop) {
        end_reader(reading, reader);
        return 0;
    }
    return r == 0 ? ask(reading, reader, err) : r;
}

static void take_refusal(struct reading *reading, struct reader *reader,
                         const struct msg_reply *reply)
{
    struct err err = {0};

    (void)err_set(&err, reply->code, "%s", reply->message);
    reading->status = cli_fail(&err);
    reading->failed++;
    end_reader(reading, reader);
}

static struct reader *find_reader(struct reading *reading, int64_t id)
{
    for (size_t i = 0; i < reading->names.count; i++) {
        if (!reading->readers[i].is_over && reading->readers[i].asked == id) {
            return &reading->readers[i];
        }
    }
    return NULL;
}

static int receive(struct reading *reading, struct err *err)
{
    auto_reply struct msg_reply reply = {0};
    struct reader *reader;
    int r = client_receive(&reading->client, &reply, err);

    if (r != 0) {
        return r;
    }
    if (reply.event == NULL && reply.id == 0 && reply.code != 0) {
        return err_set(err, reply.code, "%s", reply.message); /* it could not read so far */
    }
    reader = reply.event == NULL ? find_reader(reading, reply.id) : NULL;
    if (reader == NULL) {
        return 0;
    }
    if (reply.result == NULL) {
        take_refusal(reading, reader, &reply);
        return 0;
    }
    return take_log(reading, reader, &reply, err);
}

/* qvmd went away; its guests did not, and their logs go on where we were. */
static int wait_for_qvmd(struct reading *reading, struct err *err)
{
    const struct timespec pause = {.tv_nsec = AGAIN_MS * 1000000L};
    int64_t give_up_ms = now_ms() + GONE_MS;
    int r = CLI_UNREACHABLE;

    cli_note(reading->cli, "qvmd is gone; waiting for the next one");
    while (r == CLI_UNREACHABLE && now_ms() < give_up_ms &&
           (reading->end_ms == 0 || now_ms() < reading->end_ms)) {
        client_fini(&reading->client);
        (void)nanosleep(&pause, NULL); /* a signal ends us */
        r = connect_to(reading, err);
    }
    return r == 0 ? ask_all(reading, err) : r;
}

/* ---- all of it ---- */

static int prepare(struct reading *reading, char *const *arguments, size_t count, struct err *err)
{
    bool is_one = count == 1 && !names_are_open(reading->cli, arguments, count);
    size_t width = 0;
    int r = connect_to(reading, err);

    r = r == 0 ? names_ask(&reading->names, reading->cli, arguments, count, &reading->client, err)
               : r;
    if (r != 0) {
        return r;
    }
    if (reading->names.count > LOGS_AT_ONCE_MAX) {
        return err_set(err, -EMSGSIZE, "the logs of at most %d guests can be read at once",
                       LOGS_AT_ONCE_MAX);
    }
    reading->readers = calloc(reading->names.count + 1, sizeof(*reading->readers));
    if (reading->readers == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < reading->names.count; i++) {
        size_t length = strlen(reading->names.list[i]);

        width = length > width ? length : width;
    }
    for (size_t i = 0; i < reading->names.count; i++) {
        struct reader *reader = &reading->readers[i];

        reader->name = reading->names.list[i];
        reader->stop = -1;
        reader->line.name = is_one ? NULL : reader->name;
        reader->line.width = width;
    }
    return ask_all(reading, err);
}

int logs_run(const struct cli *cli, const struct logs_wanted *wanted, char *const *arguments,
             int count)
{
    __attribute__((cleanup(reading_fini))) struct reading reading = {
        .cli = cli, .wanted = wanted, .client = CLIENT_CLOSED};
    struct err err = {0};
    int r;

    reading.lines = wanted->lines;
    if (reading.lines < 0) {
        reading.lines = wanted->follow && wanted->size == 0 ? LINES_FOLLOWED : 0;
    }
    reading.end_ms = cli->timeout_ms != 0 ? now_ms() + cli->timeout_ms : 0;
    r = prepare(&reading, arguments, (size_t)count, &err);
    while (r == 0 && reading.over < reading.names.count) {
        r = receive(&reading, &err);
        if (r == CLI_UNREACHABLE && wanted->follow) {
            r = wait_for_qvmd(&reading, &err);
        }
    }
    if (r != 0 && r != -EPIPE) {
        return cli_fail(&err);
    }
    return names_status(&reading.names, reading.failed, reading.status);
}
