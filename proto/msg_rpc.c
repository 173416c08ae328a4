/* JSON-RPC 2.0 (jsonrpc.org/specification): requests, replies and notifications, one a line. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/msg_codec.h"

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

static json_t *make_envelope(void)
{
    json_t *envelope = json_object();

    (void)json_object_set_new(envelope, "jsonrpc", json_string("2.0")); /* seen when it is read */
    return envelope;
}

/* Put `value` (handed over) into the envelope and make the line; NULL if anything is missing. */
static char *finish(json_t *envelope, const char *key, json_t *value)
{
    if (json_object_set_new(envelope, key, value) != 0) {
        return NULL;
    }
    return msg_json_text(envelope, "\n");
}

static char *request_line(int64_t id, const char *method, json_t *params)
{
    auto_json json_t *envelope = make_envelope();

    (void)json_object_set_new(envelope, "id", json_integer(id));
    (void)json_object_set_new(envelope, "method", json_string(method));
    return finish(envelope, "params", params);
}

char *msg_request_format(int64_t id, enum msg_method method, const void *params)
{
    return request_line(id, msg_methods[method].name,
                        msg_json_make(msg_methods[method].params, params, MSG_EXACT));
}

int msg_request_format_json(int64_t id, const char *method, const char *params, char **line,
                            struct err *err)
{
    json_t *value = NULL;
    int r = msg_json_load(params, strlen(params), &value, err);

    if (r != 0) {
        return err_set(err, -EINVAL, "the params are not JSON");
    }
    if (!json_is_object(value)) {
        json_decref(value);
        return err_set(err, -EINVAL, "the params must be a JSON object");
    }
    *line = request_line(id, method, value);
    return *line != NULL ? 0 : err_set(err, -ENOMEM, "out of memory");
}

/* ---- answers ---- */

static char *answer(const char *id, const char *key, json_t *value)
{
    auto_json json_t *envelope = make_envelope();
    json_t *id_value = id != NULL ? json_loads(id, JSON_DECODE_ANY, NULL) : json_null();

    if (json_object_set_new(envelope, "id", id_value) != 0) {
        json_decref(value);
        return NULL;
    }
    return finish(envelope, key, value);
}

char *msg_result_format(const char *id, enum msg_struct type, const void *result)
{
    return answer(id, "result", msg_json_make(type, result, MSG_TOLD));
}

char *msg_result_format_json(const char *id, const char *json)
{
    return answer(id, "result", json_loads(json, 0, NULL));
}

char *msg_error_format(const char *id, const struct err *err)
{
    const struct error_word *word = error_by_code(err->code);

    return answer(id, "error",
                  json_pack("{s:i, s:o, s:{s:s}}", "code", word->rpc_code, "message",
                            msg_json_tell(err->msg), "data", "name", word->name));
}

char *msg_event_format(const struct msg_event *event)
{
    auto_json json_t *envelope = make_envelope();

    (void)json_object_set_new(envelope, "method", json_string("event"));
    return finish(envelope, "params", msg_json_make(MSG_event, event, MSG_TOLD));
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
    const json_t *result;
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
    result = json_object_get(envelope, "result");
    if (result != NULL) {
        reply->result = msg_json_text(result, "");
        return reply->result != NULL ? 0 : -ENOMEM;
    }
    if (!json_is_object(json_object_get(envelope, "error"))) {
        return err_set(err, -EPROTO, "the reply holds neither a result nor an error");
    }
    return read_error(json_object_get(envelope, "error"), reply);
}

void msg_reply_fini(struct msg_reply *reply)
{
    free(reply->result);
    msg_free(MSG_event, reply->event);
    free(reply->error_name);
    free(reply->message);
    *reply = (struct msg_reply){0};
}
