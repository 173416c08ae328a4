/* Memory of the host that has a name: what $asinfo_start{NAME} and $asinfo_length{NAME} mean. No
 * I/O: whoever calls has read the texts. */
#ifndef QVM_PROTO_CONF_REGIONS_H
#define QVM_PROTO_CONF_REGIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define CONF_REGIONS_MAX      4096u
#define CONF_REGION_NAME_SIZE 64u /* longer names are cut */

struct conf_region {
    char name[CONF_REGION_NAME_SIZE];
    uint64_t start, size; /* host-physical; bytes */
};

struct conf_regions {
    struct conf_region *list;
    size_t count;
    const char *source; /* who names regions, for sentences; NULL: /proc/iomem */
    bool is_hidden;     /* the kernel told names, and no addresses: root alone sees them */
    /* private */
    size_t room;
};

/* Add one. -E2BIG: there are CONF_REGIONS_MAX; -ENOMEM. */
int conf_regions_add(struct conf_regions *regions, const char *name, uint64_t start, uint64_t size);

/* Add what a text as /proc/iomem tells ("START-END : NAME", hexadecimal, nested by spaces). Lines
 * that are none are left out. Failures as above. */
int conf_regions_add_iomem(struct conf_regions *regions, const char *text);

void conf_regions_fini(struct conf_regions *regions);

/* The one region called `name`. -ENOENT: there is none, or several; `err` says which, and what may
 * have been meant. */
int conf_regions_find(const struct conf_regions *regions, const char *name,
                      const struct conf_region **region, struct err *err);

#endif
