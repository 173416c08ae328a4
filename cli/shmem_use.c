#include "cli/shmem_use.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "proto/base/err.h"
#include "proto/conf/value.h"

#include <qvm/shmem.h>

#define NUMBERS_SIZE 64 /* of a list of client numbers */

/* The exit status of a failure; `*shmem` is set on STATUS_OK alone. */
static int join(const struct cli *cli, const struct shmem_use *use, const char *region,
                struct qvm_shmem **shmem)
{
    const struct qvm_shmem_options options = {.size = sizeof(options),
                                              .timeout_ms = (uint32_t)cli->timeout_ms,
                                              .bytes = use->create,
                                              .socket = cli->socket};
    char message[QVM_SHMEM_MESSAGE_SIZE] = "";
    struct err err = {0};
    int r;

    if (cli->format != FORMAT_TABLE) {
        return cli_usage("-o is of 'shmem list' and 'shmem show' alone");
    }
    r = qvm_shmem_join(region, &options, shmem, message);
    if (r < 0) {
        (void)err_set(&err, r, "%s", message);
        return cli_fail(&err);
    }
    return STATUS_OK;
}

/* A number of bytes inside the region, up to `most`. */
static int read_bytes(const char *text, uint64_t most, uint64_t *bytes, struct err *err)
{
    if (conf_parse_number(text, strlen(text), CONF_DECIMAL, bytes) != 0) {
        return err_set(err, -EINVAL, "'%s' is no number of bytes, such as 4K", text);
    }
    if (*bytes > most) {
        return err_set(err, -EINVAL, "%s is behind the end: the region has %" PRIu64 " bytes there",
                       text, most);
    }
    return 0;
}

int shmem_use_read(const struct cli *cli, const struct shmem_use *use, int count, char **arguments)
{
    struct qvm_shmem *shmem = NULL;
    uint64_t offset = 0, bytes;
    struct err err = {0};
    int status = join(cli, use, arguments[0], &shmem), r = 0;

    if (status != STATUS_OK) {
        return status;
    }
    if (count > 1) {
        r = read_bytes(arguments[1], qvm_shmem_size(shmem), &offset, &err);
    }
    bytes = qvm_shmem_size(shmem) - offset;
    if (r == 0 && count > 2) {
        r = read_bytes(arguments[2], bytes, &bytes, &err);
    }
    if (r == 0) {
        (void)fwrite((const char *)qvm_shmem_memory(shmem) + offset, 1, bytes,
                     stdout); /* main() looks at stdout's errors */
        cli_flush();
    }
    qvm_shmem_leave(shmem);
    return r == 0 ? STATUS_OK : cli_fail(&err);
}

/* All of stdin, from `at` on. */
static int fill(const struct qvm_shmem *shmem, uint64_t at, struct err *err)
{
    char *memory = qvm_shmem_memory(shmem), more;
    ssize_t size = 1;

    while (size > 0 && at < qvm_shmem_size(shmem)) {
        size = read(STDIN_FILENO, memory + at, qvm_shmem_size(shmem) - at);
        at += size > 0 ? (uint64_t)size : 0;
    }
    if (size > 0 && read(STDIN_FILENO, &more, 1) > 0) {
        return err_set(err, -EMSGSIZE,
                       "stdin is longer than the region, which has %" PRIu64
                       " bytes and is written to its end now",
                       qvm_shmem_size(shmem));
    }
    return size < 0 ? err_sys(err, -errno, "cannot read stdin") : 0;
}

int shmem_use_write(const struct cli *cli, const struct shmem_use *use, int count, char **arguments)
{
    struct qvm_shmem *shmem = NULL;
    uint64_t offset = 0;
    struct err err = {0};
    int status = join(cli, use, arguments[0], &shmem), r = 0;

    if (status != STATUS_OK) {
        return status;
    }
    if (count > 1) {
        r = read_bytes(arguments[1], qvm_shmem_size(shmem), &offset, &err);
    }
    r = r == 0 ? fill(shmem, offset, &err) : r;
    qvm_shmem_leave(shmem);
    return r == 0 ? STATUS_OK : cli_fail(&err);
}

/* One bit for each client that is named; all of those that are there for `all`. */
static int read_clients(struct qvm_shmem *shmem, int count, char **arguments, uint32_t *clients,
                        struct err *err)
{
    struct qvm_shmem_news news = {.size = sizeof(news)};
    uint64_t client;

    *clients = 0;
    for (int i = 0; i < count; i++) {
        if (strcmp(arguments[i], "all") == 0) {
            (void)qvm_shmem_take(shmem, &news); /* says who is there */
            *clients |= news.attached & ~(1u << qvm_shmem_client(shmem));
        } else if (conf_parse_number(arguments[i], strlen(arguments[i]), CONF_DECIMAL, &client) !=
                       0 ||
                   client >= QVM_SHMEM_CLIENTS) {
            return err_set(err, -EINVAL, "'%s' is no client: 0 to %d, or 'all'", arguments[i],
                           QVM_SHMEM_CLIENTS - 1);
        } else {
            *clients |= 1u << client;
        }
    }
    return 0;
}

int shmem_use_notify(const struct cli *cli, const struct shmem_use *use, int count,
                     char **arguments)
{
    struct qvm_shmem *shmem = NULL;
    uint32_t clients;
    struct err err = {0};
    int status, r;

    if (count < 2) {
        return cli_usage("shmem notify: which clients? 'qvmctl shmem list' tells them");
    }
    status = join(cli, use, arguments[0], &shmem);
    if (status != STATUS_OK) {
        return status;
    }
    r = read_clients(shmem, count - 1, arguments + 1, &clients, &err);
    if (r == 0) {
        qvm_shmem_notify(shmem, clients);
    }
    qvm_shmem_leave(shmem);
    return r == 0 ? STATUS_OK : cli_fail(&err);
}

/* "0,2", or "-". */
static void list_numbers(uint32_t clients, char text[NUMBERS_SIZE])
{
    size_t used = 0;

    (void)strcpy(text, "-"); /* fits */
    for (unsigned i = 0; i < QVM_SHMEM_CLIENTS; i++) {
        if ((clients >> i & 1) != 0) {
            used +=
                (size_t)snprintf(text + used, NUMBERS_SIZE - used, "%s%u", used > 0 ? "," : "", i);
        }
    }
}

static void tell(const struct qvm_shmem *shmem, const struct qvm_shmem_news *news)
{
    static const char *const states[] = {
        [QVM_SHMEM_JOINED] = "joined", [QVM_SHMEM_ALONE] = "alone", [QVM_SHMEM_LOST] = "lost"};
    char signals[NUMBERS_SIZE], attached[NUMBERS_SIZE];

    list_numbers(news->signals, signals);
    list_numbers(news->attached, attached);
    printf("client %u state %s signals %s attached %s\n", qvm_shmem_client(shmem),
           states[news->state], signals, attached);
    cli_flush();
}

int shmem_use_wait(const struct cli *cli, const struct shmem_use *use, int count, char **arguments)
{
    int patience = cli->timeout_ms != 0 ? (int)cli->timeout_ms : -1;
    struct qvm_shmem_news news = {.size = sizeof(news)};
    struct qvm_shmem *shmem = NULL;
    struct err err = {0};
    int status, r;

    if (count > 1) {
        return cli_usage("shmem wait takes one region");
    }
    status = join(cli, use, arguments[0], &shmem);
    if (status != STATUS_OK) {
        return status;
    }
    (void)qvm_shmem_take(shmem, &news); /* how it is to begin with */
    tell(shmem, &news);
    do {
        r = qvm_shmem_wait(shmem, patience, &news);
        if (r == 0) {
            tell(shmem, &news);
        }
    } while (r == -EINTR || (r == 0 && use->follows && news.state != QVM_SHMEM_LOST));
    if (r == -ETIMEDOUT) {
        (void)err_set(&err, r, "nothing was heard of region '%s' within %g s", arguments[0],
                      (double)patience / 1000);
    } else if (r < 0) {
        (void)err_sys(&err, r, "cannot wait for region '%s'", arguments[0]);
    }
    qvm_shmem_leave(shmem);
    return r == 0 ? STATUS_OK : cli_fail(&err);
}
