/* The message readers of both sides: qvmd's (requests, packets from a qvm), the client's (replies)
 * and the qvm's (packets from qvmd). What was read must also be writable again. */
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/msg.h"
#include "tests/fuzz/fuzz.h"

static void read_request(const char *text, size_t size)
{
    struct msg_request request;
    struct err err = {0};

    if (msg_request_parse(text, size, &request, &err) == 0) {
        auto_free char *line =
            msg_request_format(1, (enum msg_method)request.method, request.params);
        struct msg_request again;

        if (line == NULL || msg_request_parse(line, strlen(line), &again, &err) != 0) {
            abort();
        }
        msg_request_fini(&again);
    } else {
        auto_free char *line = msg_error_format(request.id, &err);

        if (line == NULL || err.msg[0] == '\0') {
            abort();
        }
    }
    msg_request_fini(&request);
}

static void read_control(const char *text, size_t size, bool from_qvmd)
{
    enum msg_control control;
    void *body = NULL;
    struct err err = {0};

    if (msg_control_parse(text, size, from_qvmd, &control, &body, &err) == 0) {
        auto_free char *packet = msg_control_format(control, body);

        if (packet == NULL) {
            abort();
        }
        msg_free(msg_controls[control].type, body);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct msg_reply reply;
    struct err err = {0};

    read_request(text, size);
    read_control(text, size, true);
    read_control(text, size, false);
    if (msg_reply_parse(text, size, &reply, &err) == 0 && reply.result != NULL) {
        struct msg_guest_list list = {0};
        auto_free char *told = msg_reply_text(&reply);

        (void)msg_reply_read(&reply, MSG_guest_list, &list, &err); /* or refused */
        msg_fini(MSG_guest_list, &list);
        if (told == NULL) {
            abort();
        }
    }
    msg_reply_fini(&reply);
    return 0;
}
