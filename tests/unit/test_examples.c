/* The configurations that README and qvmconf(5) show are read without complaint. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/plan/plan.h"
#include "qvm-worker/vdev/host.h"
#include "tests/unit/unit.h"

#define TEXT_MAX 262144u

/* The whole of a file of the tree, or of its part from `from` on. */
static char *read_from(const char *name, const char *from)
{
    const char *root = getenv("QVM_SOURCE") != NULL ? getenv("QVM_SOURCE") : ".";
    char *text = calloc(1, TEXT_MAX + 1);
    char path[2048];
    const char *start;
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/%s", root, name);
    file = fopen(path, "r");
    ck_assert_msg(file != NULL, "%s: %s", path, strerror(errno));
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_lt(fread(text, 1, TEXT_MAX, file), TEXT_MAX);
    (void)fclose(file);
    start = strstr(text, from);
    ck_assert_msg(start != NULL, "%s has no '%s'", name, from);
    memmove(text, start, strlen(start) + 1);
    return text;
}

static void check_reads(const char *text)
{
    static const char *const env[] = {NULL};
    static const struct plan_host host = {.env = env};
    struct conf_part part = {
        .name = "example", .directory = "/etc/qvm", .text = text, .size = strlen(text)};
    struct vdev_host *vdevs = NULL;
    struct err err = {0};
    auto_close int modules = open(VDEV_DIR, O_PATH | O_DIRECTORY | O_CLOEXEC);
    static struct plan plan; /* large */

    ck_assert_int_ge(modules, 0);
    ck_assert_int_eq(vdev_host_create(modules, &vdevs, &err), 0);
    memset(&plan, 0, sizeof(plan));
    ck_assert_msg(plan_read(&plan, &part, 1, &host, vdevs, &err) == 0, "%s, of:\n%s", err.msg,
                  text);
    ck_assert_uint_eq(plan.warning_count, 0);
    plan_fini(&plan);
    vdev_host_destroy(vdevs);
}

/* mdoc writes a backslash as \e. */
static void unescape(char *text)
{
    char *to = text;

    for (const char *from = text; *from != '\0'; from++) {
        *to++ = *from;
        if (from[0] == '\\' && from[1] == 'e') {
            from++;
        }
    }
    *to = '\0';
}

/* Each block between lines `begin` and `end` that has a `system`; how many there were. */
static int check_blocks(char *text, const char *begin, const char *end)
{
    int count = 0;

    for (char *at = text; (at = strstr(at, begin)) != NULL;) {
        char *body = strchr(at + 1, '\n');
        char *stop = body != NULL ? strstr(body, end) : NULL;

        ck_assert_ptr_nonnull(stop);
        *stop = '\0';
        at = stop + strlen(end);
        if (strstr(body, "\nsystem ") != NULL) {
            unescape(body);
            check_reads(body);
            count++;
        }
    }
    return count;
}

START_TEST(examples_of_the_manual_are_read_without_complaint)
{
    auto_free char *page = read_from("qvm-worker/qvmconf.5", "\n.Sh EXAMPLES\n");

    ck_assert_int_ge(check_blocks(page, "\n.Bd", "\n.Ed"), 4);
}
END_TEST

START_TEST(the_example_of_the_readme_is_read_without_complaint)
{
    auto_free char *page = read_from("README.md", "\n## By hand\n");

    ck_assert_int_eq(check_blocks(page, "\n```", "\n```\n"), 1);
}
END_TEST

UNIT_MAIN("examples", examples_of_the_manual_are_read_without_complaint,
          the_example_of_the_readme_is_read_without_complaint)
