/* Messages: what goes in comes out, and what a stranger sends is refused in words. */
#include "proto/msg.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base64.h"
#include "tests/unit/unit.h"

/* Parse one request line and expect this refusal. */
static void expect_refused(const char *line, int code, const char *sentence)
{
    struct msg_request request;
    struct err err = {0};

    ck_assert_int_eq(msg_request_parse(line, strlen(line), &request, &err), code);
    ck_assert_str_eq(err.msg, sentence);
    msg_request_fini(&request);
}

START_TEST(a_start_request_comes_back_as_it_was)
{
    char word[] = "@0", name[] = "web.qvmconf", directory[] = "/etc", text[] = "system web\n";
    char *words[] = {word};
    struct msg_source source = {.name = name, .directory = directory, .text = text};
    struct msg_definition definition = {
        .words = words, .words_count = 1, .sources = &source, .sources_count = 1};
    char guest[] = "web";
    struct msg_start_params params = {.name = guest, .definition = &definition, .timeout_ms = 1500};
    auto_free char *line = msg_request_format(7, METHOD_start, &params);
    struct msg_request request;
    const struct msg_start_params *back;
    struct err err = {0};

    ck_assert_ptr_nonnull(line);
    ck_assert_int_eq(msg_request_parse(line, strlen(line), &request, &err), 0);
    ck_assert_str_eq(request.id, "7");
    ck_assert_int_eq(request.method, METHOD_start);
    back = request.params;
    ck_assert_str_eq(back->name, "web");
    ck_assert_int_eq(back->timeout_ms, 1500);
    ck_assert_uint_eq(back->definition->words_count, 1);
    ck_assert_str_eq(back->definition->sources[0].text, "system web\n");
    ck_assert_uint_eq(back->definition->env_count, 0);
    msg_request_fini(&request);
}
END_TEST

START_TEST(a_request_that_is_wrong_is_refused_with_the_member_and_the_reason)
{
    expect_refused("{", -EBADMSG,
                   "the message is not JSON: string or '}' expected near end of file at byte 1");
    expect_refused("[]", -EPROTO, "a request must be an object (batches are not served)");
    expect_refused("{\"id\":1}", -EPROTO, "'jsonrpc' must be \"2.0\"");
    expect_refused("{\"jsonrpc\":\"2.0\",\"id\":1}", -EPROTO, "'method' must be a text");
    expect_refused("{\"jsonrpc\":\"2.0\",\"id\":[],\"method\":\"x\"}", -EPROTO,
                   "'id' must be a text or a whole number");
    expect_refused("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"guest.fly\"}", -ENOSYS,
                   "there is no method 'guest.fly'; rpc.discover lists them");
    expect_refused("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"guest.kill\"}", -EINVAL,
                   "'name' is missing");
    expect_refused("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"guest.kill\",\"params\":[\"web\"]}",
                   -EINVAL, "'params' must be an object");
    expect_refused(
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"guest.kill\",\"params\":{\"name\":3}}", -EINVAL,
        "'name' must be a text");
    expect_refused("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"guest.kill\",\"params\":"
                   "{\"name\":\"web\",\"now\":true}}",
                   -EINVAL, "'now' is not known here");
    expect_refused("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"guest.stop\",\"params\":"
                   "{\"name\":\"web\",\"timeout_ms\":-1}}",
                   -EINVAL, "'timeout_ms' must lie between 0 and 86400000");
    expect_refused("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"guest.wait\",\"params\":"
                   "{\"name\":\"web\",\"state\":\"happy\"}}",
                   -EINVAL, "'state' is not a state");
    expect_refused("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"guest.define\",\"params\":{\"name\":"
                   "\"web\",\"definition\":{\"sources\":[{\"name\":\"a\",\"directory\":\"/\"}]}}}",
                   -EINVAL, "'definition.sources[0].text' is missing");
    expect_refused("{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"rpc.discover\"}", -EBADMSG,
                   "the message is not JSON: duplicate object key near '\"id\"' at byte 28");
    expect_refused("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"rpc.discover\",\"extra\":1}",
                   -EPROTO, "'extra' is not a member of a request");
}
END_TEST

START_TEST(a_refused_request_keeps_its_id_so_that_the_caller_hears_of_it)
{
    static const char line[] = "{\"jsonrpc\":\"2.0\",\"id\":\"a7\",\"method\":\"guest.kill\"}";
    struct msg_request request;
    struct err err = {0};
    auto_free char *answer = NULL;

    ck_assert_int_eq(msg_request_parse(line, strlen(line), &request, &err), -EINVAL);
    ck_assert_str_eq(request.id, "\"a7\"");
    answer = msg_error_format(request.id, &err);
    ck_assert_str_eq(answer, "{\"jsonrpc\":\"2.0\",\"id\":\"a7\",\"error\":{\"code\":-32602,"
                             "\"message\":\"'name' is missing\","
                             "\"data\":{\"name\":\"invalid-params\"}}}\n");
    msg_request_fini(&request);
}
END_TEST

/* A discover request with `depth` lists inside its id. */
static int parse_nested(int depth)
{
    char line[256];
    int size = snprintf(line, sizeof(line), "{\"x\":");
    struct msg_request request;
    struct err err = {0};
    int r;

    for (int i = 0; i < depth - 1; i++) {
        line[size++] = '[';
    }
    for (int i = 0; i < depth - 1; i++) {
        line[size++] = ']';
    }
    line[size++] = '}';
    r = msg_request_parse(line, (size_t)size, &request, &err);
    msg_request_fini(&request);
    return r;
}

START_TEST(nesting_is_refused_one_beyond_its_limit)
{
    ck_assert_int_eq(parse_nested(MSG_DEPTH_MAX), -EPROTO); /* JSON, but no request */
    ck_assert_int_eq(parse_nested(MSG_DEPTH_MAX + 1), -EBADMSG);
}
END_TEST

START_TEST(brackets_in_a_text_are_not_nesting)
{
    static const char line[] = "{\"jsonrpc\":\"2.0\",\"id\":\"[[[[[[[[[[[[[[[[[[[[\\\"[\","
                               "\"method\":\"rpc.discover\"}";
    struct msg_request request;

    ck_assert_int_eq(msg_request_parse(line, strlen(line), &request, NULL), 0);
    msg_request_fini(&request);
}
END_TEST

/* Kill a guest whose name has `size` letters. */
static int parse_name_of(size_t size)
{
    char name[128] = {0};
    auto_free char *line = NULL;
    struct msg_change_params params = {.name = name};
    struct msg_request request;
    int r;

    memset(name, 'a', size);
    line = msg_request_format(1, METHOD_kill, &params);
    r = msg_request_parse(line, strlen(line), &request, NULL);
    msg_request_fini(&request);
    return r;
}

START_TEST(texts_and_lists_are_refused_one_beyond_their_limit)
{
    char *names[1025];
    char name[] = "a";
    struct msg_list_params params = {.names = names, .names_count = 1025};
    auto_free char *too_many = NULL;
    struct msg_request request;
    struct err err = {0};

    ck_assert_int_eq(parse_name_of(GUEST_NAME_MAX), 0);
    ck_assert_int_eq(parse_name_of(GUEST_NAME_MAX + 1), -EINVAL);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        names[i] = name;
    }
    too_many = msg_request_format(1, METHOD_list, &params);
    ck_assert_int_eq(msg_request_parse(too_many, strlen(too_many), &request, &err), -EINVAL);
    ck_assert_str_eq(err.msg, "'names' has more than 1024 elements");
    msg_request_fini(&request);
}
END_TEST

START_TEST(a_result_is_read_or_told_as_text)
{
    const char *line =
        "{\"jsonrpc\":\"2.0\", \"id\":4,\"result\":{\"instance\":1,\"next\":7,\"data\":\"\"}}";
    struct msg_reply reply;
    struct msg_log_data log = {0};
    struct msg_guest_list list = {0};
    auto_free char *text = NULL;
    struct err err = {0};

    ck_assert_int_eq(msg_reply_parse(line, strlen(line), &reply, NULL), 0);
    ck_assert_int_eq(msg_reply_read(&reply, MSG_log_data, &log, &err), 0);
    ck_assert_int_eq(log.next, 7);
    msg_fini(MSG_log_data, &log);
    text = msg_reply_text(&reply);
    ck_assert_str_eq(text, "{\"instance\":1,\"next\":7,\"data\":\"\"}");
    list.guests_count = 3;
    ck_assert_int_eq(msg_reply_read(&reply, MSG_guest, &list, &err), -EINVAL);
    ck_assert_uint_eq(list.guests_count, 3); /* written on success alone */
    msg_reply_fini(&reply);
}
END_TEST

START_TEST(a_reply_ignores_members_that_this_version_does_not_know)
{
    static const char text[] = "{\"name\":\"web\",\"state\":\"running\",\"desired\":\"running\","
                               "\"generation\":1,\"owner\":\"root\",\"owner_uid\":0,\"mood\":9}";
    struct msg_guest guest;

    ck_assert_int_eq(msg_decode(MSG_guest, text, strlen(text), true, &guest, NULL), -EINVAL);
    ck_assert_int_eq(msg_decode(MSG_guest, text, strlen(text), false, &guest, NULL), 0);
    ck_assert_int_eq(guest.state, STATE_running);
    ck_assert_int_eq(guest.reason, REASON_none);
    msg_fini(MSG_guest, &guest);
}
END_TEST

START_TEST(members_that_may_be_left_out_are_left_out_when_empty)
{
    char name[] = "web", owner[] = "ann";
    struct msg_guest guest = {.name = name, .owner = owner, .owner_uid = 5, .generation = 2};
    auto_free char *text = msg_encode(MSG_guest, &guest);

    ck_assert_str_eq(text, "{\"name\":\"web\",\"state\":\"defined\",\"desired\":\"defined\","
                           "\"generation\":2,\"owner\":\"ann\",\"owner_uid\":5}");
}
END_TEST

START_TEST(a_refusal_reaches_the_client_with_name_and_code)
{
    struct err err = {0};
    struct msg_reply reply;
    auto_free char *line = NULL;

    (void)err_set(&err, -EBUSY, "'%s' is held", "disk");
    line = msg_error_format("4", &err);
    ck_assert_int_eq(msg_reply_parse(line, strlen(line), &reply, NULL), 0);
    ck_assert_int_eq(reply.id, 4);
    ck_assert_ptr_null(reply.result);
    ck_assert_int_eq(reply.code, -EBUSY);
    ck_assert_str_eq(reply.error_name, "busy");
    ck_assert_str_eq(reply.message, "'disk' is held");
    msg_reply_fini(&reply);
}
END_TEST

START_TEST(an_event_is_a_notification)
{
    char time[] = "2026-01-01T00:00:00Z", what[] = "state";
    struct msg_event event = {.seq = 12, .time = time, .what = what};
    auto_free char *line = msg_event_format(&event);
    struct msg_reply reply;

    ck_assert_int_eq(msg_reply_parse(line, strlen(line), &reply, NULL), 0);
    ck_assert_int_eq(reply.event->seq, 12);
    msg_reply_fini(&reply);
}
END_TEST

START_TEST(a_control_packet_from_the_wrong_side_is_refused)
{
    auto_free char *packet = msg_control_format(CONTROL_power_button, NULL);
    enum msg_control control;
    void *body = NULL;
    struct err err = {0};

    ck_assert_str_eq(packet, "{\"power-button\":{}}");
    ck_assert_int_eq(msg_control_parse(packet, strlen(packet), true, &control, &body, &err), 0);
    ck_assert_int_eq(control, CONTROL_power_button);
    msg_free(MSG_none, body);
    ck_assert_int_eq(msg_control_parse(packet, strlen(packet), false, &control, &body, &err),
                     -EPROTO);
    ck_assert_str_eq(err.msg, "'power-button' came from the wrong side");
    ck_assert_int_eq(msg_control_parse("{\"a\":{},\"b\":{}}", 15, true, &control, &body, &err),
                     -EPROTO);
    ck_assert_int_eq(msg_control_parse("{}", 2, true, &control, &body, &err), -EPROTO);
}
END_TEST

START_TEST(bytes_survive_base64_at_every_length)
{
    uint8_t data[64];

    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(i * 37 + 250);
    }
    for (size_t size = 0; size <= sizeof(data); size++) {
        auto_free char *text = base64_encode(data, size);
        auto_free uint8_t *back = NULL;
        size_t back_size = 99;

        ck_assert_int_eq(base64_decode(text, size, &back, &back_size), 0);
        ck_assert_uint_eq(back_size, size);
        ck_assert_int_eq(memcmp(data, back, size), 0);
    }
}
END_TEST

START_TEST(what_is_not_base64_is_refused)
{
    static const char *const wrong[] = {"A", "AAA", "AA=A", "=AAA", "A===", "AA==AAAA", "A\nAA"};
    uint8_t *data;
    size_t size;

    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        ck_assert_int_eq(base64_decode(wrong[i], 100, &data, &size), -EINVAL);
    }
    ck_assert_int_eq(base64_decode("AAAA", 2, &data, &size), -EMSGSIZE);
    ck_assert_int_eq(base64_decode("AAAAAAAA", 3, &data, &size), -EMSGSIZE);
}
END_TEST

START_TEST(the_openrpc_document_names_every_method)
{
    auto_free char *document = msg_openrpc("1");

    ck_assert_ptr_nonnull(document);
    for (int i = 0; i < METHOD_COUNT; i++) {
        ck_assert_ptr_nonnull(strstr(document, msg_methods[i].name));
    }
}
END_TEST

/* A guest with this message as JSON; NULL: it cannot be. */
static char *encode_message(char *message)
{
    char name[] = "a", owner[] = "root";

    return msg_encode(
        MSG_guest,
        &(struct msg_guest){.name = name, .message = message, .generation = 1, .owner = owner});
}

START_TEST(every_character_survives_being_written)
{
    char message[128] = "";
    struct msg_guest back = {0};
    auto_free char *text = NULL;

    for (size_t i = 0; i + 1 < sizeof(message); i++) {
        message[i] = (char)(i + 1);
    }
    text = encode_message(message);
    ck_assert_ptr_nonnull(strstr(text, "\\u0001\\u0002"));
    ck_assert_ptr_nonnull(strstr(text, "\\b\\t\\n\\u000B\\f\\r\\u000E"));
    ck_assert_ptr_nonnull(strstr(text, " !\\\"#"));
    ck_assert_ptr_nonnull(strstr(text, "[\\\\]"));
    ck_assert_int_eq(msg_decode(MSG_guest, text, strlen(text), false, &back, NULL), 0);
    ck_assert_str_eq(back.message, message);
    msg_fini(MSG_guest, &back);
}
END_TEST

START_TEST(numbers_are_written_to_their_bounds)
{
    struct msg_log_data log = {.next = INT64_MAX, .end = INT64_MIN, .lost = -1};
    auto_free char *text = msg_encode(MSG_log_data, &log);

    ck_assert_str_eq(text, "{\"data\":\"\",\"instance\":0,\"next\":9223372036854775807,"
                           "\"end\":-9223372036854775808,\"lost\":-1}");
}
END_TEST

START_TEST(what_is_no_utf_8_is_not_written)
{
    char good[][6] = {"\xc2\x80",     "\xdf\xbf",     "\xe0\xa0\x80",     "\xed\x9f\xbf",
                      "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    char bad[][6] = {"\x80",         "\xc1\xbf",         "\xc2",         "\xc2 ",
                     "\xe0\x9f\xbf", "\xe0\xa0",         "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
                     "\xf0\x90\x80", "\xf4\x90\x80\x80", "\xf5",         "\xff"};

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        auto_free char *text = encode_message(good[i]);
        struct msg_guest back = {0};

        ck_assert_msg(text != NULL, "%zu", i);
        ck_assert_int_eq(msg_decode(MSG_guest, text, strlen(text), false, &back, NULL), 0);
        ck_assert_str_eq(back.message, good[i]);
        msg_fini(MSG_guest, &back);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        auto_free char *text = encode_message(bad[i]);

        ck_assert_msg(text == NULL, "%zu", i);
    }
}
END_TEST

START_TEST(a_sentence_that_is_cut_in_a_character_does_not_cost_the_answer)
{
    char name[] = "a", owner[] = "root\xff", time[] = "now", what[] = "state";
    char message[] = "cannot open '/tmp/\xc3\xa9\xc3"; /* half a character at its end */
    struct msg_guest guest = {.name = name, .message = message, .generation = 1, .owner = owner};
    struct msg_guest_list list = {.guests = &guest, .guests_count = 1};
    struct msg_event event = {.seq = 1, .time = time, .what = what, .message = message};
    struct err err = {.code = -EIO, .msg = "it says '\xff'"};
    auto_free char *answer = msg_result_format("1", MSG_guest_list, &list);
    auto_free char *notice = msg_event_format(&event);
    auto_free char *refusal = msg_error_format("1", &err);

    ck_assert_ptr_nonnull(answer);
    ck_assert_ptr_nonnull(strstr(answer, "cannot open '/tmp/\xc3\xa9?\""));
    ck_assert_ptr_nonnull(strstr(answer, "\"root?\""));
    ck_assert_ptr_nonnull(notice);
    ck_assert_ptr_nonnull(strstr(notice, "/tmp/\xc3\xa9?\""));
    ck_assert_ptr_nonnull(strstr(refusal, "it says '?'"));
}
END_TEST

START_TEST(a_definition_or_a_path_that_is_not_utf8_is_not_altered_but_refused)
{
    char where[] = "a:1";
    char word[] = "set\xff";
    char *words[] = {word};
    struct msg_definition definition = {.words = words, .words_count = 1};

    struct msg_resource item = {.kind = RESOURCE_file, .id = word, .where = where};
    struct msg_ask ask = {.items = &item, .items_count = 1};

    ck_assert_ptr_null(msg_encode(MSG_definition, &definition));
    ck_assert_ptr_null(msg_control_format(CONTROL_ask, &ask));
}
END_TEST

UNIT_MAIN("msg", a_start_request_comes_back_as_it_was,
          a_request_that_is_wrong_is_refused_with_the_member_and_the_reason,
          a_refused_request_keeps_its_id_so_that_the_caller_hears_of_it,
          nesting_is_refused_one_beyond_its_limit, brackets_in_a_text_are_not_nesting,
          texts_and_lists_are_refused_one_beyond_their_limit, a_result_is_read_or_told_as_text,
          every_character_survives_being_written, numbers_are_written_to_their_bounds,
          what_is_no_utf_8_is_not_written, every_character_survives_being_written,
          numbers_are_written_to_their_bounds, what_is_no_utf_8_is_not_written,
          a_reply_ignores_members_that_this_version_does_not_know,
          members_that_may_be_left_out_are_left_out_when_empty,
          a_refusal_reaches_the_client_with_name_and_code, an_event_is_a_notification,
          a_control_packet_from_the_wrong_side_is_refused, bytes_survive_base64_at_every_length,
          what_is_not_base64_is_refused,
          a_sentence_that_is_cut_in_a_character_does_not_cost_the_answer,
          a_definition_or_a_path_that_is_not_utf8_is_not_altered_but_refused,
          the_openrpc_document_names_every_method)
