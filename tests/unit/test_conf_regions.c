/* Memory of the host that has a name. */
#include "proto/conf/regions.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "tests/unit/unit.h"

static struct conf_regions regions;
static struct err err;

static const struct conf_region *find(const char *name)
{
    const struct conf_region *region = NULL;

    err.msg[0] = '\0';
    return conf_regions_find(&regions, name, &region, &err) == 0 ? region : NULL;
}

START_TEST(lines_of_iomem_become_regions_and_others_are_left_out)
{
    static const char text[] = "00001000-0009fbff : System RAM\n"
                               "  00002000-00002fff : ACPI Tables : with colon\n"
                               "nonsense\n"
                               "1000 : no end\n"
                               "2000-1000 : backwards\n"
                               "0-ffffffffffffffff : all\n"
                               "x-y : digits\n"
                               "5000-5fff : \n"
                               "fffffffffffff000-ffffffffffffffff : the last";

    ck_assert_int_eq(conf_regions_add_iomem(&regions, text), 0);
    ck_assert_uint_eq(regions.count, 3);
    ck_assert_uint_eq(find("ACPI Tables : with colon")->start, 0x2000);
    ck_assert_uint_eq(find("System RAM")->size, 0x9ec00);
    ck_assert_uint_eq(find("the last")->size, 0x1000);
    ck_assert_ptr_null(find("nonsense"));
    conf_regions_fini(&regions);
}
END_TEST

START_TEST(a_kernel_that_hides_its_addresses_is_told_apart_from_a_name_that_is_not_there)
{
    ck_assert_int_eq(conf_regions_add_iomem(&regions, "00000000-00000000 : System RAM\n"), 0);
    ck_assert_ptr_null(find("System RAM"));
    ck_assert_ptr_nonnull(strstr(err.msg, "only root sees them"));
    conf_regions_fini(&regions);
}
END_TEST

START_TEST(there_may_be_so_many_regions_and_not_one_more)
{
    for (unsigned i = 0; i < CONF_REGIONS_MAX; i++) {
        ck_assert_int_eq(conf_regions_add(&regions, "r", i, 1), 0);
    }
    ck_assert_int_eq(conf_regions_add(&regions, "r", 0, 1), -E2BIG);
    ck_assert_int_eq(conf_regions_add_iomem(&regions, "1-2 : r"), -E2BIG);
    conf_regions_fini(&regions);
}
END_TEST

START_TEST(a_long_name_is_cut)
{
    char name[3 * CONF_REGION_NAME_SIZE];

    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    ck_assert_int_eq(conf_regions_add(&regions, name, 1, 1), 0);
    name[CONF_REGION_NAME_SIZE - 1] = '\0';
    ck_assert_ptr_nonnull(find(name));
    conf_regions_fini(&regions);
}
END_TEST

UNIT_MAIN("conf_regions", lines_of_iomem_become_regions_and_others_are_left_out,
          a_kernel_that_hides_its_addresses_is_told_apart_from_a_name_that_is_not_there,
          there_may_be_so_many_regions_and_not_one_more, a_long_name_is_cut)
