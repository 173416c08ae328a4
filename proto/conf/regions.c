/* Memory of the host that has a name. */
#include "proto/conf/regions.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/conf/value.h"

int conf_regions_add(struct conf_regions *regions, const char *name, uint64_t start, uint64_t size)
{
    struct conf_region *region;

    if (regions->count == CONF_REGIONS_MAX) {
        return -E2BIG;
    }
    if (regions->count == regions->room) {
        size_t room = regions->room == 0 ? 32 : 2 * regions->room;
        struct conf_region *list = reallocarray(regions->list, room, sizeof(*list));

        if (list == NULL) {
            return -ENOMEM;
        }
        regions->list = list;
        regions->room = room;
    }
    region = &regions->list[regions->count++];
    (void)snprintf(region->name, sizeof(region->name), "%s", name);
    region->start = start;
    region->size = size;
    return 0;
}

/* One line of /proc/iomem, without its end. */
static int add_line(struct conf_regions *regions, const char *line, size_t size)
{
    const char *end = line + size;
    const char *dash, *colon;
    char name[CONF_REGION_NAME_SIZE];
    uint64_t first, last;

    while (line < end && *line == ' ') {
        line++;
    }
    dash = memchr(line, '-', (size_t)(end - line));
    colon = dash != NULL ? memmem(dash, (size_t)(end - dash), " : ", 3) : NULL;
    if (colon == NULL || colon + 3 == end ||
        conf_parse_number(line, (size_t)(dash - line), CONF_HEX, &first) != 0 ||
        conf_parse_number(dash + 1, (size_t)(colon - dash - 1), CONF_HEX, &last) != 0 ||
        last < first || last - first == UINT64_MAX) {
        return 0;
    }
    if (first == 0 && last == 0) {
        regions->is_hidden = true;
        return 0;
    }
    (void)snprintf(name, sizeof(name), "%.*s", (int)(end - colon - 3), colon + 3);
    return conf_regions_add(regions, name, first, last - first + 1);
}

int conf_regions_add_iomem(struct conf_regions *regions, const char *text)
{
    int r = 0;

    while (r == 0 && *text != '\0') {
        size_t size = strcspn(text, "\n");

        r = size < 4096 ? add_line(regions, text, size) : 0;
        text += size + (text[size] == '\n' ? 1 : 0);
    }
    return r;
}

void conf_regions_fini(struct conf_regions *regions)
{
    free(regions->list);
    *regions = (struct conf_regions){0};
}

int conf_regions_find(const struct conf_regions *regions, const char *name,
                      const struct conf_region **region, struct err *err)
{
    const struct conf_region *found = NULL;
    struct conf_nearest nearest = {.word = name};
    size_t count = 0;

    for (size_t i = 0; i < regions->count; i++) {
        conf_nearest_offer(&nearest, regions->list[i].name);
        if (strcmp(regions->list[i].name, name) == 0) {
            found = &regions->list[i];
            count++;
        }
    }
    if (count == 1) {
        *region = found;
        return 0;
    }
    if (count > 1) {
        return err_set(
            err, -ENOENT,
            "%zu memory regions of the host are called '%s': the name does not say which", count,
            name);
    }
    if (regions->is_hidden) {
        return err_set(err, -ENOENT,
                       "no memory region of the host is known as '%s': only root sees them in "
                       "/proc/iomem",
                       name);
    }
    if (nearest.best != NULL) {
        return err_set(err, -ENOENT,
                       "no memory region of the host is called '%s'; did you mean "
                       "'%s'?",
                       name, nearest.best);
    }
    return err_set(err, -ENOENT, "no memory region of the host is called '%s'; %s names them", name,
                   regions->source != NULL ? regions->source : "/proc/iomem");
}
