/* The host as lines of text. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/devices.h"
#include "cli/map.h"
#include "cli/pci_words.h"
#include "cli/text.h"
#include "proto/base/cleanup.h"

#define WIDTH      100 /* of a line with names */
#define BAR        40  /* columns of a partition's memory */
#define LETTERS    26  /* guests of a bar that have one of their own */
#define NAMES_MOST 6   /* guests of a line that are named, unless all are wanted */
#define INDENT     "                 "

/* ---- CPUs ---- */

/* "db web +254", wrapped when all are wanted. */
static void print_names(const struct msg_share *const *shares, size_t count, bool is_wide,
                        FILE *out)
{
    size_t column = strlen(INDENT);

    for (size_t i = 0; i < count; i++) {
        size_t width = strlen(shares[i]->guest) + 1;

        if (!is_wide && i == NAMES_MOST && count > NAMES_MOST + 1) {
            (void)fprintf(out, " +%zu", count - i);
            return;
        }
        if (column + width > WIDTH) {
            (void)fputs("\n" INDENT, out);
            column = strlen(INDENT);
        }
        (void)putc(' ', out);
        text_print(out, shares[i]->guest);
        column += width;
    }
}

/* Who runs there: the guest that has it, or (in a line of their own) those that share it. */
static int print_users(const struct map *map, const struct msg_host_cpu *cpu, bool is_wide,
                       FILE *out)
{
    auto_free const struct msg_share **shares = NULL;
    size_t count = 0;

    if (cpu->guest != NULL) {
        text_print(out, cpu->guest);
        (void)fprintf(out, " (pid %" PRId64 ")\n", cpu->pid);
        return 0;
    }
    if (strcmp(cpu->use, "exclusive") == 0) {
        (void)fputs("free\n", out);
        return 0;
    }
    shares = cpu->partition != NULL ? map_shares(map->division, cpu->partition, &count) : NULL;
    if (cpu->partition != NULL && shares == NULL) {
        return -ENOMEM;
    }
    (void)fputs(count > 0 ? "shared by\n" INDENT : "no guest", out);
    print_names(shares, count, is_wide, out);
    (void)putc('\n', out);
    return 0;
}

static int print_cpus(const struct map *map, bool is_wide, FILE *out)
{
    const struct msg_partitions *division = map->division;
    int r = 0;

    (void)fputs("CPUS\n", out);
    for (size_t i = 0; r == 0 && i < division->cpus_count;) {
        const struct msg_host_cpu *cpu = &division->cpus[i];
        size_t next = map_cpus_alike(division, i);
        char numbers[48], node[32] = "";

        if (next - i > 1) {
            (void)snprintf(numbers, sizeof(numbers), "%" PRId64 "-%" PRId64, cpu->cpu,
                           division->cpus[next - 1].cpu);
        } else {
            (void)snprintf(numbers, sizeof(numbers), "%" PRId64, cpu->cpu);
        }
        if (cpu->node >= 0) {
            (void)snprintf(node, sizeof(node), "node %" PRId64, cpu->node);
        }
        (void)fprintf(out, "  %-13s  %-8s  %-9s  ", numbers, node, cpu->use);
        text_print(out, cpu->partition != NULL ? cpu->partition : "-");
        (void)fputs(cpu->housekeeping ? "  and housekeeping  " : "  ", out);
        r = print_users(map, cpu, is_wide, out);
        i = next;
    }
    return r;
}

/* ---- memory ---- */

/* A letter for each of the largest guests as long as its share; '+' for the others, '.' for what
 * is left. What is there is at least one column wide while there is room. */
static void fill_bar(const struct msg_partition *partition, const struct msg_share *const *shares,
                     size_t count, char bar[BAR + 1])
{
    int64_t total = partition->memory > 0 ? partition->memory : 1, sum = 0;
    size_t at = 0;

    memset(bar, '.', BAR);
    bar[BAR] = '\0';
    for (size_t i = 0; i < count; i++) {
        size_t end;

        sum += shares[i]->memory;
        end = (size_t)((double)sum / (double)total * BAR + 0.5);
        end = i < LETTERS && end == at ? at + 1 : end; /* too small to be seen otherwise */
        for (; at < end && at < BAR; at++) {
            bar[at] = (char)(i < LETTERS ? 'a' + (int)i : '+');
        }
    }
}

static void print_shares(const struct msg_share *const *shares, size_t count, bool is_wide,
                         FILE *out)
{
    size_t named = is_wide || count <= NAMES_MOST + 1 ? count : NAMES_MOST, column = WIDTH;
    char size[TEXT_SHORT_SIZE], entry[2 * GUEST_NAME_MAX];
    int64_t rest = 0;

    for (size_t i = 0; i < count; i++) {
        size_t width;

        if (i >= named) {
            rest += shares[i]->memory;
            continue;
        }
        text_size(size, shares[i]->memory);
        width =
            (size_t)snprintf(entry, sizeof(entry), "%c %.*s %s", i < LETTERS ? 'a' + (int)i : '+',
                             GUEST_NAME_MAX, shares[i]->guest, size);
        if (column + width + 2 > WIDTH) {
            (void)fputs(i > 0 ? "\n" INDENT : INDENT, out);
            column = strlen(INDENT);
        }
        (void)fputs("  ", out);
        text_print(out, entry);
        column += width + 2;
    }
    if (rest > 0) {
        text_size(size, rest);
        (void)fprintf(out, "  +%zu %s", count - named, size);
    }
    if (count > 0) {
        (void)putc('\n', out);
    }
}

static int print_memory(const struct map *map, bool is_wide, FILE *out)
{
    const struct msg_partitions *division = map->division;
    int64_t own = division->memory;

    (void)fputs("\nMEMORY\n", out);
    for (size_t i = 0; i < division->partitions_count; i++) {
        const struct msg_partition *partition = &division->partitions[i];
        char total[TEXT_SHORT_SIZE], left[TEXT_SHORT_SIZE], bar[BAR + 1];
        size_t count;
        auto_free const struct msg_share **shares = map_shares(division, partition->name, &count);
        auto_free char *name = text_harmless(partition->name);

        if (shares == NULL || name == NULL) {
            return -ENOMEM;
        }
        own -= partition->memory;
        fill_bar(partition, shares, count, bar);
        text_size(total, partition->memory);
        text_size(left, partition->memory - partition->memory_claimed);
        (void)fprintf(out, "  %-13s  %8s  [%s]  %s left", name, total, bar, left);
        if (partition->node != NULL) {
            (void)fputs(", node ", out);
            text_print(out, partition->node);
        }
        if (partition->page_size > 0) {
            text_size(total, partition->page_size);
            (void)fprintf(out, ", pages of %s", total);
        }
        (void)putc('\n', out);
        print_shares(shares, count, is_wide, out);
    }
    if (own > 0) {
        char size[TEXT_SHORT_SIZE];

        text_size(size, own);
        (void)fprintf(out, "  %-13s  %8s\n", "(host's own)", size);
    }
    return 0;
}

/* ---- devices ---- */

static void print_device(const struct msg_device *device, FILE *out)
{
    const char *state = device_state(device);

    (void)fprintf(out, "%-12s  %-13s  ", device->bdf, pci_class_word(device->class));
    if (device->guest != NULL) {
        text_print(out, device->guest);
        (void)fprintf(out, " (pid %" PRId64 ")", device->pid);
    } else if (strcmp(state, "host") == 0) {
        (void)fputs("host: ", out);
        text_print(out, device->use);
    } else {
        (void)fputs(state, out);
    }
    (void)putc('\n', out);
}

static void print_devices(const struct msg_device_list *devices, FILE *out)
{
    int64_t last = INT64_MIN;

    (void)fputs("\nDEVICES\n", out);
    for (size_t i = 0; i < devices->devices_count; i++) {
        const struct msg_device *device = &devices->devices[i];
        char group[32] = "";

        if (device->iommu_group != last && device->iommu_group >= 0) {
            (void)snprintf(group, sizeof(group), "group %" PRId64, device->iommu_group);
        } else if (device->iommu_group != last) {
            (void)snprintf(group, sizeof(group), "no group");
        }
        last = device->iommu_group;
        (void)fprintf(out, "  %-13s  ", group);
        print_device(device, out);
    }
}

int map_print(const struct map *map, bool is_wide, FILE *out)
{
    int r = print_cpus(map, is_wide, out);

    r = r == 0 ? print_memory(map, is_wide, out) : r;
    if (r == 0) {
        print_devices(map->devices, out);
    }
    return r;
}
