/* What every command of qvmctl is given, and what it answers with.
 *
 * qvmctl is one process for one command: blocking, one thread, no loop library. It touches the
 * terminal in `console` alone. */
#ifndef QVM_CLI_CLI_H
#define QVM_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct msg_guest;

#define CLI_SOCKET_DEFAULT "/run/qvm/qvmd.sock"
#define CLI_REQUEST_ID_MAX 63 /* bytes; `/NAME` is put behind it */
#define CLI_SOCKET_ENV     "QVM_SOCKET"

/* Exit statuses of qvmctl(1). What qvmd refuses has its status in proto/errors.def. */
enum cli_status {
    STATUS_OK = 0,
    STATUS_FAILED = 1,
    STATUS_USAGE = 2,
    STATUS_WRONG_STATE = 4,
    STATUS_UNREACHABLE = 6,
    STATUS_TIMEOUT = 7,
    STATUS_SOME_FAILED = 9,
    STATUS_INTERRUPTED = 130,
};

enum cli_format { FORMAT_TABLE, FORMAT_JSON, FORMAT_JSONL, FORMAT_NAME, FORMAT_COUNT };

/* The global options. */
struct cli {
    const char *socket;
    int64_t timeout_ms; /* 0: not given */
    enum cli_format format;
    bool no_headers, quiet, strict, wide;
    const char *request_id;                           /* NULL: none */
    bool all;                                         /* --all, of commands that take guests */
    bool (*all_means)(const struct msg_guest *guest); /* those that it means; NULL: every one */
};

/* qvmd cannot be reached, or is gone: error code of client.h, status STATUS_UNREACHABLE. */
#define CLI_UNREACHABLE (-ENOTCONN)

/* The exit status for a negative errno of ours or of proto/errors.def. */
int cli_status(int code);

/* Say the sentence on stderr ("qvmctl: SENTENCE"; one that begins with FILE:LINE: stands alone),
 * control characters shown harmlessly. Returns cli_status(err->code). */
int cli_fail(const struct err *err);

/* Wrong usage: "qvmctl: SENTENCE" and where help is. Returns STATUS_USAGE. */
int cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A remark on stderr unless -q: "qvmctl: SENTENCE". */
void cli_note(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The handler of SIGINT: says that it was interrupted, and what cli_tell_when_interrupted() was
 * given last. Ends the process. */
void cli_on_interrupt(int number);
void cli_tell_when_interrupted(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Write out what was printed on stdout. What fails is remembered for cli_end(). */
void cli_flush(void);

/* The exit status of qvmctl when the command had `status`: output that did not arrive is a failure,
 * said unless somebody had closed the pipe because he saw enough. */
int cli_end(int status);

/* Whether `text` begins with FILE:LINE: */
bool cli_begins_with_place(const char *text);

#endif
