/* qvmctl map: the host as text and as a picture. */
#include "cli/map.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "tests/unit/unit.h"

#define GIB (INT64_C(1) << 30)

static char shared[] = "shared", exclusive[] = "exclusive", none[] = "none", host[] = "host",
            rt[] = "rt", web[] = "web", db[] = "db", rtos[] = "rtos";

static struct msg_host_cpu cpus[] = {
    {.cpu = 0, .use = shared, .housekeeping = true, .partition = host},
    {.cpu = 1, .use = shared, .partition = host},
    {.cpu = 2, .use = shared, .partition = host},
    {.cpu = 3, .use = exclusive, .partition = rt, .guest = rtos, .pid = 4711, .node = 1},
    {.cpu = 4, .use = exclusive, .partition = rt, .node = 1},
    {.cpu = 7, .use = none, .node = -1},
};
static struct msg_partition partitions[] = {
    {.name = host, .memory = 4 * GIB, .memory_claimed = 3 * GIB},
    {.name = rt, .memory = GIB, .memory_claimed = GIB / 1024},
};
static struct msg_share shares[] = {
    {.partition = host, .guest = web, .pid = 1, .memory = GIB},
    {.partition = rt, .guest = rtos, .pid = 4711, .memory = GIB / 1024},
    {.partition = host, .guest = db, .pid = 2, .memory = 2 * GIB},
};
static char bdf[4][13] = {"0000:00:01.0", "0000:00:02.0", "0000:00:03.0", "0000:00:04.0"};
static char use[] = "disk 'sda' is mounted on '/'", why[] = "why <not> & \"how\"\x1b";
static struct msg_device devices[] = {
    {.bdf = bdf[3], .class = 0x020000, .iommu_group = -1, .refusal = why},
    {.bdf = bdf[2], .class = 0x010802, .iommu_group = 5, .use = use, .refusal = why},
    {.bdf = bdf[1], .class = 0x020000, .iommu_group = 5, .refusal = why},
    {.bdf = bdf[0], .class = 0x020000, .iommu_group = 7, .guest = rtos, .pid = 4711},
};

static struct msg_partitions division = {.partitions = partitions,
                                         .partitions_count = ARRAY_LEN(partitions),
                                         .cpus = cpus,
                                         .cpus_count = ARRAY_LEN(cpus),
                                         .shares = shares,
                                         .shares_count = ARRAY_LEN(shares),
                                         .memory = 6 * GIB};
static struct msg_device_list list = {.devices = devices, .devices_count = ARRAY_LEN(devices)};

/* To be freed. */
static char *draw(const struct msg_partitions *of, bool is_picture, bool is_wide)
{
    const struct map map = {.division = of, .devices = &list};
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    map_sort_devices(&list);
    ck_assert_int_eq(is_picture ? map_draw(&map, out) : map_print(&map, is_wide, out), 0);
    ck_assert_int_eq(fclose(out), 0);
    return text;
}

START_TEST(a_map_shows_who_has_what)
{
    static const char wanted[] =
        "CPUS\n"
        "  0              node 0    shared     host  and housekeeping  shared by\n"
        "                  db web\n"
        "  1-2            node 0    shared     host  shared by\n"
        "                  db web\n"
        "  3              node 1    exclusive  rt  rtos (pid 4711)\n"
        "  4              node 1    exclusive  rt  free\n"
        "  7                        none       -  no guest\n"
        "\nMEMORY\n"
        "  host               4GiB  [aaaaaaaaaaaaaaaaaaaabbbbbbbbbb..........]  1GiB left\n"
        "                   a db 2GiB  b web 1GiB\n"
        "  rt                 1GiB  [a.......................................]  1023MiB left\n"
        "                   a rtos 1MiB\n"
        "  (host's own)       1GiB\n"
        "\nDEVICES\n"
        "  group 5        0000:00:02.0  ethernet       group\n"
        "                 0000:00:03.0  nvme           host: disk 'sda' is mounted on '/'\n"
        "  group 7        0000:00:01.0  ethernet       rtos (pid 4711)\n"
        "  no group       0000:00:04.0  ethernet       no-iommu\n";
    auto_free char *text = draw(&division, false, false);

    ck_assert_str_eq(text, wanted);
}
END_TEST

#define MANY 256

/* So many guests of one partition that is full. */
static struct msg_partitions make_many(struct msg_partition *all, struct msg_share *many,
                                       char (*names)[16])
{
    *all = (struct msg_partition){.name = host, .memory = MANY * GIB, .memory_claimed = MANY * GIB};
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(names[i], 16, "guest%03d", i);
        many[i] = (struct msg_share){.partition = host, .guest = names[i], .memory = GIB};
    }
    return (struct msg_partitions){.partitions = all,
                                   .partitions_count = 1,
                                   .cpus = cpus,
                                   .cpus_count = 1,
                                   .shares = many,
                                   .shares_count = MANY};
}

START_TEST(of_many_guests_some_are_named_and_the_others_counted)
{
    static struct msg_share many[MANY];
    static char names[MANY][16];
    struct msg_partition all;
    const struct msg_partitions of = make_many(&all, many, names);
    auto_free char *text = draw(&of, false, false), *wide = draw(&of, false, true);

    ck_assert_ptr_nonnull(strstr(text, "guest004 guest005 +250\n"));
    ck_assert_ptr_nonnull(strstr(text, "f guest005 1GiB  +250 250GiB\n"));
    ck_assert_ptr_null(strstr(text, "guest006"));
    ck_assert_ptr_nonnull(strstr(wide, "guest255\n"));
    ck_assert_ptr_nonnull(strstr(wide, "+ guest255 1GiB\n"));
    for (const char *line = wide; *line != '\0'; line += strcspn(line, "\n") + 1) {
        ck_assert_uint_le(strcspn(line, "\n"), 100);
    }
}
END_TEST

START_TEST(a_picture_holds_all_of_it_harmlessly)
{
    static const char *const parts[] = {
        "<?xml version=\"1.0\"",
        "<title>CPU 3 (node 1), exclusive: rtos</title>",
        "<title>CPU 0 (node 0), shared: host, housekeeping</title>",
        "host: 1GiB left of 4GiB",
        "<title>db: 2GiB</title>",
        "<title>0000:00:02.0: group, why &lt;not&gt; &amp; &quot;how&quot;?</title>",
        "<title>0000:00:01.0: rtos</title>",
        "</svg>\n",
    };
    auto_free char *text = draw(&division, true, false);

    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        ck_assert_msg(strstr(text, parts[i]) != NULL, "'%s' is not in %s", parts[i], text);
    }
    ck_assert_ptr_null(strchr(text, '\x1b'));
}
END_TEST

START_TEST(a_guest_has_the_same_colour_everywhere)
{
    auto_free char *text = draw(&division, true, false);
    char colours[4][8] = {{0}};
    size_t count = 0;

    for (const char *at = text; (at = strstr(at, ">rtos</text>")) != NULL && count < 4; at++) {
        const char *fill = at;

        while (strncmp(fill, "fill=\"", 6) != 0) {
            fill--;
        }
        memcpy(colours[count++], fill + 6, 7);
    }
    ck_assert_uint_eq(count, 2); /* its CPU; itself */
    ck_assert_str_eq(colours[0], colours[1]);
    ck_assert_int_eq(colours[0][0], '#');
}
END_TEST

START_TEST(an_empty_host_has_a_map)
{
    struct msg_partitions empty = {.cpus = cpus, .cpus_count = 0};
    struct msg_device_list no_devices = {0};
    const struct map map = {.division = &empty, .devices = &no_devices};
    auto_free char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    map_sort_devices(&no_devices);
    ck_assert_int_eq(map_print(&map, false, out), 0);
    ck_assert_int_eq(map_draw(&map, out), 0);
    ck_assert_int_eq(fclose(out), 0);
    ck_assert_ptr_eq(strstr(text, "CPUS\n\nMEMORY\n\nDEVICES\n<?xml"), text);
}
END_TEST

UNIT_MAIN("cli_map", a_map_shows_who_has_what, of_many_guests_some_are_named_and_the_others_counted,
          a_picture_holds_all_of_it_harmlessly, a_guest_has_the_same_colour_everywhere,
          an_empty_host_has_a_map)
