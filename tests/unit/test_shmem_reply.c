/* What a program of the host reads of qvmd's answers: members of one line. */
#include <stdint.h>
#include <string.h>

#include "lib/reply.h"
#include "tests/unit/unit.h"

static struct reply_value line(const char *text)
{
    return (struct reply_value){text, text + strlen(text)};
}

static int64_t number(const char *text, const char *name)
{
    return reply_number(reply_member(line(text), name), -1);
}

START_TEST(members_are_found_behind_whatever_stands_before_them)
{
    static const char text[] =
        "{\"jsonrpc\":\"2.0\", "
        "\"a\":{\"client\":1,\"x\":[{\"client\":2},\"}\"]},\"b\\\"\":\"\\\\\","
        "\"result\" : {\"new\":[1,[2,{}]],\"client\":3 ,\"size\":4096}}";
    struct reply_value result = reply_member(line(text), "result");

    ck_assert_int_eq(reply_number(reply_member(result, "client"), -1), 3);
    ck_assert_int_eq(reply_number(reply_member(result, "size"), -1), 4096);
    ck_assert_ptr_null(reply_member(result, "siz").start);
    ck_assert_ptr_null(reply_member(line(text), "client").start);
    ck_assert_ptr_null(reply_member(reply_member(result, "client"), "x").start);
}
END_TEST

START_TEST(a_number_is_whole_and_fits)
{
    ck_assert_int_eq(number("{\"n\":-5}", "n"), -5);
    ck_assert_int_eq(number("{\"n\":999999999999999999}", "n"), INT64_C(999999999999999999));
    ck_assert_int_eq(number("{\"n\":9999999999999999999}", "n"), -1);
    ck_assert_int_eq(number("{\"n\":1.5}", "n"), -1);
    ck_assert_int_eq(number("{\"n\":\"1\"}", "n"), -1);
    ck_assert_int_eq(number("{\"n\":-}", "n"), -1);
    ck_assert_int_eq(number("{\"n\":}", "n"), -1);
    ck_assert_int_eq(number("{}", "n"), -1);
}
END_TEST

START_TEST(a_text_is_harmless_and_as_long_as_there_is_room)
{
    char text[12];

    reply_text(reply_member(line("{\"t\":\"a \\\"b\\\" \\\\\\n\\u001b\"}"), "t"), text,
               sizeof(text));
    ck_assert_str_eq(text, "a \"b\" \\ ?");
    reply_text(reply_member(line("{\"t\":\"0123456789abcdef\"}"), "t"), text, sizeof(text));
    ck_assert_str_eq(text, "0123456789a");
    reply_text(reply_member(line("{\"t\":7}"), "t"), text, sizeof(text));
    ck_assert_str_eq(text, "");
    reply_text(reply_member(line("{}"), "t"), text, sizeof(text));
    ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(what_does_not_end_has_no_members)
{
    static const char whole[] =
        "{\"error\":{\"data\":{\"name\":\"busy\"}},\"result\":{\"client\":1}}";
    char part[sizeof(whole)];

    for (size_t size = 0; size < sizeof(whole) - 2; size++) {
        struct reply_value cut = {part, part + size};

        memcpy(part, whole, size);
        ck_assert_ptr_null(reply_member(cut, "nothing").start);
        ck_assert_int_le(reply_number(reply_member(reply_member(cut, "result"), "client"), 1), 1);
    }
}
END_TEST

UNIT_MAIN("shmem_reply", members_are_found_behind_whatever_stands_before_them,
          a_number_is_whole_and_fits, a_text_is_harmless_and_as_long_as_there_is_room,
          what_does_not_end_has_no_members)
