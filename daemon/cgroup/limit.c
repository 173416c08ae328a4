/* What the processes of a group may take. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "daemon/cgroup/cgroup.h"
#include "daemon/cgroup/inside.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define CPUS_SIZE 4096 /* of a list of every other CPU */

static int write_number(int fd, const char *name, int64_t number)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%" PRId64, number);
    return cgroup_file_write(fd, name, text);
}

static int set(const struct cgroups *cgroups, int fd, int controller, const char *file,
               int64_t value, struct err *err)
{
    int r = 0;

    if ((cgroups->controllers & 1u << controller) != 0) {
        r = write_number(fd, file, value);
    }
    return r < 0 ? err_sys(err, r, "cannot write '%s' of a control group", file) : 0;
}

static bool is_limit_of_huge(const char *name)
{
    static const char start[] = "hugetlb.", end[] = ".max";
    size_t length = strlen(name);

    return strncmp(name, start, strlen(start)) == 0 && length > strlen(end) &&
           strcmp(name + length - strlen(end), end) == 0;
}

/* Of no size, nor promised: memory.max knows nothing of them. */
static int forbid_huge(const struct cgroups *cgroups, int fd, struct err *err)
{
    DIR *files;
    const struct dirent *file;
    int r = 0, copy;

    if ((cgroups->controllers & 1u << CONTROLLER_hugetlb) == 0) {
        return 0;
    }
    copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    files = copy < 0 ? NULL : fdopendir(copy);
    if (files == NULL) {
        r = err_sys(err, -errno, "cannot look into a control group");
        cleanup_close(&copy);
        return r;
    }
    while (r == 0 && (file = readdir(files)) != NULL) {
        if (is_limit_of_huge(file->d_name)) {
            r = set(cgroups, fd, CONTROLLER_hugetlb, file->d_name, 0, err);
        }
    }
    (void)closedir(files); /* only read from */
    return r;
}

/* What a qvm may take before anything was granted to it. */
int cgroup_set_first_limits(const struct cgroups *cgroups, int fd, struct err *err)
{
    int r = forbid_huge(cgroups, fd, err);

    r = r < 0 ? r : set(cgroups, fd, CONTROLLER_memory, "memory.max", CGROUP_MEMORY_BASE, err);

    if (r == 0) {
        r = set(cgroups, fd, CONTROLLER_memory, "memory.oom.group", 1, err);
    }
    return r == 0 ? set(cgroups, fd, CONTROLLER_pids, "pids.max", CGROUP_PIDS_BASE, err) : r;
}

int64_t cgroup_memory_max(int64_t ram, int64_t vcpus)
{
    return ram + ram / CGROUP_MEMORY_SHARE + CGROUP_MEMORY_BASE + vcpus * CGROUP_MEMORY_PER_VCPU;
}

/* Pages of one size, those that are only promised included. */
static int limit_huge(const struct cgroups *cgroups, int fd, const struct cgroup_limits *limits,
                      struct err *err)
{
    static const struct {
        int shift;
        const char *name;
    } units[] = {{30, "GB"}, {20, "MB"}, {10, "KB"}};
    char file[48];
    size_t unit = 0;
    int r;

    while (unit + 1 < ARRAY_LEN(units) && limits->page_size >> units[unit].shift == 0) {
        unit++;
    }
    (void)snprintf(file, sizeof(file), "hugetlb.%" PRId64 "%s.max",
                   limits->page_size >> units[unit].shift, units[unit].name);
    r = set(cgroups, fd, CONTROLLER_hugetlb, file, limits->ram, err);
    if (r == 0) {
        (void)snprintf(file, sizeof(file), "hugetlb.%" PRId64 "%s.rsvd.max",
                       limits->page_size >> units[unit].shift, units[unit].name);
        r = set(cgroups, fd, CONTROLLER_hugetlb, file, limits->ram, err);
    }
    return r;
}

int cgroup_limit(const struct cgroups *cgroups, int fd, const struct cgroup_limits *limits,
                 struct err *err)
{
    int64_t ram = limits->ram, vcpus = limits->vcpus, weight = vcpus * limits->weight;
    int64_t memory = cgroup_memory_max(ram, vcpus) + limits->helpers * CGROUP_MEMORY_PER_HELPER;
    int64_t pids = CGROUP_PIDS_BASE + vcpus + limits->helpers * CGROUP_PIDS_PER_HELPER;
    int r = 0;

    if (fd < 0) {
        return 0;
    }
    weight = weight < 1 ? 1 : weight > CGROUP_WEIGHT_MAX ? CGROUP_WEIGHT_MAX : weight;
    if (limits->page_size > 0) {
        memory -= cgroups->counts_huge ? 0 : ram;
        r = limit_huge(cgroups, fd, limits, err);
    }
    r = r == 0 ? set(cgroups, fd, CONTROLLER_memory, "memory.max", memory, err) : r;
    if (r == 0) {
        r = set(cgroups, fd, CONTROLLER_pids, "pids.max", pids, err);
    }
    return r == 0 ? set(cgroups, fd, CONTROLLER_cpu, "cpu.weight", weight, err) : r;
}

static int set_text(const struct cgroups *cgroups, int fd, const char *file, const char *text,
                    struct err *err)
{
    int r = (cgroups->controllers & 1u << CONTROLLER_cpuset) != 0
                ? cgroup_file_write(fd, file, text)
                : -EOPNOTSUPP;

    return r < 0 ? err_sys(err, r, "cannot write '%s' to '%s' of a control group", text, file) : 0;
}

int cgroup_set_cpus(const struct cgroups *cgroups, int fd, const cpu_set_t *cpus, struct err *err)
{
    char text[CPUS_SIZE];
    int r = set_text(cgroups, fd, "cpuset.cpus", cpu_list_print(cpus, text, sizeof(text)), err);

    return r == -EOPNOTSUPP ? 0 : r;
}

int cgroup_set_node(const struct cgroups *cgroups, int fd, unsigned node, struct err *err)
{
    char text[16];

    (void)snprintf(text, sizeof(text), "%u", node);
    return set_text(cgroups, fd, "cpuset.mems", text, err);
}
