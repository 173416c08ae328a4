/* JSON-RPC 2.0 (jsonrpc.org/specification): requests, replies and notifications, one a line. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/msg_codec.h"
#include "proto/msg_write.h"

/* The answer of discover is a document of its own, so its struct in the list has no members. */

/* ---- requests ---- */

/* The id as JSON text: a text or a whole number of at most MSG_ID_MAX bytes. */
static int read_id(const json_t *envelope, char **id, struct err *err)
{
    const json_t *value = json_object_get(envelope, "id");
    auto_free char *text = NULL;

    if (value == NULL) {
        return 0;
    }
    if (!json_is_string(value) && !json_is_integer(value)) {
        return err_set(err, -EPROTO, "'id' must be a text or a whole number");
    }
    text = msg_json_text(value, "");
    if (text == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    if (strlen(text) > MSG_ID_MAX) {
        return err_set(err, -EPROTO, "'id' is longer than %d bytes", MSG_ID_MAX);
    }
    *id = take_ptr(text);
    return 0;
}

static int check_envelope(json_t *envelope, struct err *err)
{
    const char *version = json_string_value(json_object_get(envelope, "jsonrpc"));
    const char *key;
    json_t *value;

    if (version == NULL || strcmp(version, "2.0") != 0) {
        return err_set(err, -EPROTO, "'jsonrpc' must be \"2.0\"");
    }
    if (!json_is_string(json_object_get(envelope, "method"))) {
        return err_set(err, -EPROTO, "'method' must be a text");
    }
    json_object_foreach(envelope, key, value)
    {
        if (strcmp(key, "jsonrpc") != 0 && strcmp(key, "method") != 0 && strcmp(key, "id") != 0 &&
            strcmp(key, "params") != 0) {
            return err_set(err, -EPROTO, "'%.64s' is not a member of a request", key);
        }
    }
    return 0;
}

static int read_params(const json_t *envelope, struct msg_request *request, struct err *err)
{
    enum msg_struct type = msg_methods[request->method].params;
    json_t *given = json_object_get(envelope, "params");
    auto_json json_t *empty = json_object();
    auto_free void *params = calloc(1, msg_types[type].size + 1);
    int r = params != NULL ? 0 : -ENOMEM;

    if (given != NULL && !json_is_object(given)) {
        return err_set(err, -EINVAL, "'params' must be an object");
    }
    if (r == 0) {
        r = msg_json_read(type, given != NULL ? given : empty, true, "", params, err);
    }
    if (r == 0) {
        request->params = take_ptr(params);
    }
    return r;
}

int msg_request_parse(const char *line, size_t size, struct msg_request *request, struct err *err)
{
    auto_json json_t *envelope = NULL;
    const char *name;
    int r;

    *request = (struct msg_request){.method = -1};
    r = msg_json_load(line, size, &envelope, err);
    if (r == 0 && !json_is_object(envelope)) {
        r = err_set(err, -EPROTO, "a request must be an object (batches are not served)");
    }
    if (r == 0) {
        r = read_id(envelope, &request->id, err);
    }
    if (r == 0) {
        r = check_envelope(envelope, err);
    }
    if (r != 0) {
        return r;
    }
    name = json_string_value(json_object_get(envelope, "method"));
    request->method = msg_method_find(name);
    if (request->method < 0) {
        return err_set(err, -ENOSYS, "there is no method '%.64s'; rpc.discover lists them", name);
    }
    return read_params(envelope, request, err);
}

void msg_request_fini(struct msg_request *request)
{
    free(request->id);
    if (request->method >= 0) {
        msg_free(msg_methods[request->method].params, request->params);
    }
    *request = (struct msg_request){.method = -1};
}

/* The beginning of every line. */
static void begin(struct msg_writer *out, enum msg_texts texts)
{
    *out = (struct msg_writer){.texts = texts};
    msg_write_raw(out, "{\"jsonrpc\":\"2.0\",");
}

static char *end(struct msg_writer *out)
{
    msg_write_raw(out, "}\n");
    return msg_writer_take(out);
}

static void begin_request(struct msg_writer *out, int64_t id, const char *method)
{
    begin(out, MSG_EXACT);
    msg_write_raw(out, "\"id\":");
    msg_write_number(out, id);
    msg_write_raw(out, ",\"method\":");
    msg_write_string(out, method);
    msg_write_raw(out, ",\"params\":");
}

char *msg_request_format(int64_t id, enum msg_method method, const void *params)
{
    struct msg_writer out;

    begin_request(&out, id, msg_methods[method].name);
    msg_write_struct(&out, msg_methods[method].params, params);
    return end(&out);
}

int msg_request_format_json(int64_t id, const char *method, const char *params, char **line,
                            struct err *err)
{
    auto_json json_t *value = NULL;
    auto_free char *compact = NULL;
    struct msg_writer out;
    int r = msg_json_load(params, strlen(params), &value, err);

    if (r != 0) {
        return err_set(err, -EINVAL, "the params are not JSON");
    }
    if (!json_is_object(value)) {
        return err_set(err, -EINVAL, "the params must be a JSON object");
    }
    compact = msg_json_text(value, "");
    if (compact == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    begin_request(&out, id, method);
    msg_write_raw(&out, compact);
    *line = end(&out);
    return *line != NULL ? 0 : err_set(err, -EINVAL, "the method's name is not UTF-8 text");
}

/* ---- answers ---- */

static void begin_answer(struct msg_writer *out, const char *id, const char *key)
{
    begin(out, MSG_TOLD);
    msg_write_raw(out, "\"id\":");
    msg_write_raw(out, id != NULL ? id : "null");
    msg_write_raw(out, ",\"");
    msg_write_raw(out, key);
    msg_write_raw(out, "\":");
}

char *msg_result_format(const char *id, enum msg_struct type, const void *result)
{
    struct msg_writer out;

    begin_answer(&out, id, "result");
    msg_write_struct(&out, type, result);
    return end(&out);
}

char *msg_result_format_json(const char *id, const char *json)
{
    auto_json json_t *value = json_loads(json, 0, NULL);
    auto_free char *compact = value != NULL ? msg_json_text(value, "") : NULL;
    struct msg_writer out;

    if (compact == NULL) {
        return NULL;
    }
    begin_answer(&out, id, "result");
    msg_write_raw(&out, compact);
    return end(&out);
}

char *msg_error_format(const char *id, const struct err *err)
{
    const struct error_word *word = error_by_code(err->code);
    struct msg_writer out;

    begin_answer(&out, id, "error");
    msg_write_raw(&out, "{\"code\":");
    msg_write_number(&out, word->rpc_code);
    msg_write_raw(&out, ",\"message\":");
    msg_write_string(&out, err->msg);
    msg_write_raw(&out, ",\"data\":{\"name\":");
    msg_write_string(&out, word->name);
    msg_write_raw(&out, "}}");
    return end(&out);
}

char *msg_event_format(const struct msg_event *event)
{
    struct msg_writer out;

    begin(&out, MSG_TOLD);
    msg_write_raw(&out, "\"method\":\"event\",\"params\":");
    msg_write_struct(&out, MSG_event, event);
    return end(&out);
}

char *msg_notice_format(const char *method, enum msg_struct type, const void *params)
{
    struct msg_writer out;

    begin(&out, MSG_TOLD);
    msg_write_raw(&out, "\"method\":\"");
    msg_write_raw(&out, method);
    msg_write_raw(&out, "\",\"params\":");
    msg_write_struct(&out, type, params);
    return end(&out);
}

static char *copy_text(const json_t *value, const char *otherwise)
{
    const char *text = json_string_value(value);

    return strdup(text != NULL ? text : otherwise);
}

static int read_error(const json_t *error, struct msg_reply *reply)
{
    const json_t *data = json_object_get(error, "data");
    const struct error_word *word;

    reply->error_name = copy_text(json_object_get(data, "name"), error_words[0].name);
    reply->message = copy_text(json_object_get(error, "message"), "refused without a reason");
    if (reply->error_name == NULL || reply->message == NULL) {
        return -ENOMEM;
    }
    word = error_by_name(reply->error_name);
    reply->code = word != NULL ? word->code : error_words[0].code;
    return 0;
}

static int read_event(const json_t *envelope, struct msg_reply *reply, struct err *err)
{
    auto_free struct msg_event *event = calloc(1, sizeof(*event));
    int r = event != NULL ? msg_json_read(MSG_event, json_object_get(envelope, "params"), false, "",
                                          event, err)
                          : -ENOMEM;

    if (r == 0) {
        reply->event = take_ptr(event);
    }
    return r;
}

int msg_reply_parse(const char *line, size_t size, struct msg_reply *reply, struct err *err)
{
    auto_json json_t *envelope = NULL;
    int r;

    *reply = (struct msg_reply){0};
    r = msg_json_load(line, size, &envelope, err);
    if (r != 0) {
        return r;
    }
    if (json_object_get(envelope, "method") != NULL) {
        return read_event(envelope, reply, err);
    }
    reply->id = json_integer_value(json_object_get(envelope, "id"));
    reply->result = json_incref(json_object_get(envelope, "result"));
    if (reply->result != NULL) {
        return 0;
    }
    if (!json_is_object(json_object_get(envelope, "error"))) {
        return err_set(err, -EPROTO, "the reply holds neither a result nor an error");
    }
    return read_error(json_object_get(envelope, "error"), reply);
}

int msg_reply_read(const struct msg_reply *reply, enum msg_struct type, void *body, struct err *err)
{
    auto_free void *copy = calloc(1, msg_types[type].size + 1);
    int r;

    if (copy == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    r = msg_json_read(type, reply->result, false, "", copy, err);
    if (r == 0) {
        memcpy(body, copy, msg_types[type].size);
    }
    return r;
}

char *msg_reply_text(const struct msg_reply *reply)
{
    return msg_json_text(reply->result, "");
}

void msg_reply_fini(struct msg_reply *reply)
{
    json_decref(reply->result);
    msg_free(MSG_event, reply->event);
    free(reply->error_name);
    free(reply->message);
    *reply = (struct msg_reply){0};
}
