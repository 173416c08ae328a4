/* What a guest's devices cost the process of qvmd: CPU time of looking at them and of the claim.
 *
 *     claim DIRECTORY [ROUNDS]
 *
 * In DIRECTORY, which must be empty, lie a prepared machine and a store. A guest with memory, a
 * vCPU, an image and DEVICES functions is claimed for and let go again, ROUNDS times (101). What is
 * asked once for all of them, device nodes and addresses, is this machine's own. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/host/pci_group.h"
#include "daemon/host/pci_node.h"
#include "daemon/reserve.h"
#include "daemon/store/store.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/words.h"

#define DEVICES 8
#define OTHERS  3
#define BOOT    "11111111-2222-3333-4444-555555555555"

static char bdfs[DEVICES][PCI_BDF_SIZE];

static double cpu_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static _Noreturn void fail(const char *what, const struct err *err)
{
    (void)fprintf(stderr, "claim: %s: %s\n", what, err != NULL ? err->msg : strerror(errno));
    exit(1);
}

static void make_parents(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST) {
            fail(path, NULL);
        }
        *slash = '/';
    }
}

static void put(const char *root, const char *bdf, const char *name, const char *text)
{
    char path[512];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/sys/bus/pci/devices/%s/%s", root, bdf, name);
    make_parents(path);
    file = fopen(path, "we");
    if (file == NULL || fputs(text, file) == EOF || fclose(file) != 0) {
        fail(path, NULL);
    }
}

static void link_to(const char *root, const char *bdf, const char *name, const char *target)
{
    char path[512];

    (void)snprintf(path, sizeof(path), "%s/%s/%s", root, bdf, name);
    make_parents(path);
    if (symlink(target, path) != 0 && errno != EEXIST) {
        fail(path, NULL);
    }
}

/* Each function is a group of its own, and has its driver. */
static void make_machine(const char *root)
{
    for (int i = 0; i < DEVICES; i++) {
        char target[256], place[256];

        (void)snprintf(bdfs[i], sizeof(bdfs[i]), "0000:0%d:00.0", i + 1);
        (void)snprintf(place, sizeof(place), "sys/bus/pci/devices/%s", bdfs[i]);
        put(root, bdfs[i], "class", "0x010802\n");
        put(root, bdfs[i], "vendor", "0x1b36\n");
        put(root, bdfs[i], "device", "0x0010\n");
        link_to(root, place, "driver", "../../../../bus/pci/drivers/nvme");
        (void)snprintf(target, sizeof(target), "../../../../kernel/iommu_groups/%d", i);
        link_to(root, place, "iommu_group", target);
        (void)snprintf(place, sizeof(place), "sys/kernel/iommu_groups/%d/devices", i);
        (void)snprintf(target, sizeof(target), "../../../../bus/pci/devices/%s", bdfs[i]);
        link_to(root, place, bdfs[i], target);
    }
}

static int64_t make_instance(struct store *store)
{
    char definition[] = "{\"words\":[]}";
    struct store_guest guest = {.owner = 1000, .definition = definition, .desired = STATE_stopped};
    struct store_instance instance = {.boot_id = BOOT,
                                      .nonce = "n",
                                      .state = STATE_starting,
                                      .started = "2026-05-31T09:08:07.654Z"};
    struct err err = {0};

    (void)snprintf(guest.name, sizeof(guest.name), "g");
    (void)snprintf(instance.guest, sizeof(instance.guest), "g");
    if (store_guest_put(store, &guest, NULL, &err) != 0 ||
        store_instance_begin(store, &instance, &err) != 0) {
        fail("an instance", &err);
    }
    return instance.id;
}

/* As daemon/guest/device.c looks at what is asked for. */
static void look(struct store *store, const char *root, struct pci_member *found)
{
    for (int i = 0; i < DEVICES; i++) {
        struct pci_member members[PCI_GROUP_MAX];
        struct store_device row;
        struct err err = {0};
        size_t count;
        int group;

        if (pci_group_read(root, bdfs[i], members, &count, &group, &err) != 0 || count != 1 ||
            store_device_get(store, bdfs[i], &row, NULL) != -ENOENT) {
            fail(bdfs[i], &err);
        }
        found[i] = members[0];
    }
}

static void count_node(void *data, const struct pci_node *node)
{
    size_t *count = data;

    (void)node;
    (*count)++;
}

/* As daemon/guest/device.c and claim.c, once for all of them. Returns how many nodes there are. */
static size_t look_around(const struct pci_member *found)
{
    struct pci_table table = {0};
    size_t count = 0;

    for (int i = 0; i < DEVICES; i++) {
        struct pci_function function = {0};

        memcpy(function.bdf, found[i].bdf, sizeof(function.bdf));
        if (pci_insert(&table, &function) < 0) {
            fail(function.bdf, NULL);
        }
    }
    pci_read_addresses("", &table);
    pci_fini(&table);
    pci_each_node("", count_node, &count);
    return count;
}

/* As daemon/guest/claim.c: one transaction, with where the devices belong. */
static void claim(struct store *store, int64_t instance, const struct pci_member *found)
{
    const struct reserve_limits limits = {.memory = INT64_C(1) << 30, .cpus = 8};
    struct reserve_item items[OTHERS + DEVICES] = {
        {.kind = RESOURCE_memory, .id = RESERVE_MEMORY_POOL, .amount = 1 << 20},
        {.kind = RESOURCE_cpu, .id = RESERVE_CPU_POOL, .amount = 1},
        {.kind = RESOURCE_file, .id = "1:2", .name = "/srv/a", .is_exclusive = true}};
    auto_tx struct store_tx tx = {0};
    struct err err = {0};
    int r = store_begin(store, &tx, &err);

    for (int i = 0; i < DEVICES; i++) {
        items[OTHERS + i] = (struct reserve_item){
            .kind = RESOURCE_device, .id = found[i].bdf, .place = "a.c:3", .is_exclusive = true};
    }
    r = r == 0 ? reserve_claim(store, &limits, instance, items, ARRAY_LEN(items), NULL, &err) : r;
    for (int i = 0; r == 0 && i < DEVICES; i++) {
        struct store_device row = {.instance = instance};

        memcpy(row.bdf, found[i].bdf, sizeof(row.bdf));
        (void)snprintf(row.boot_id, sizeof(row.boot_id), "%s", BOOT);
        (void)snprintf(row.driver, sizeof(row.driver), "%s", found[i].home.driver);
        r = store_device_take(store, &row, &err);
    }
    if (r != 0 || store_commit(&tx, &err) != 0) {
        fail("the claim", &err);
    }
}

/* As daemon/guest/device_give.c, when they are back. */
static void release(struct store *store, int64_t instance)
{
    auto_tx struct store_tx tx = {0};
    struct err err = {0};
    int r = store_begin(store, &tx, &err);

    for (int i = 0; r == 0 && i < DEVICES; i++) {
        r = store_device_home(store, bdfs[i], &err);
    }
    r = r == 0 ? reserve_free(store, instance, &err) : r;
    if (r != 0 || store_commit(&tx, &err) != 0) {
        fail("the end", &err);
    }
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return left < right ? -1 : left > right;
}

static void tell(const char *what, double *figures, size_t count)
{
    qsort(figures, count, sizeof(*figures), compare);
    (void)printf("%-28s median %6.3f  min %6.3f  max %6.3f ms of CPU\n", what, figures[count / 2],
                 figures[0], figures[count - 1]);
}

int main(int argc, char **argv)
{
    size_t rounds = argc > 2 ? (size_t)strtoul(argv[2], NULL, 10) : 101;
    auto_free double *looks = calloc(rounds, sizeof(*looks));
    auto_free double *around = calloc(rounds, sizeof(*around));
    auto_free double *claims = calloc(rounds, sizeof(*claims));
    auto_free double *ends = calloc(rounds, sizeof(*ends));
    struct store *store = NULL;
    struct err err = {0};
    char path[512];
    int64_t instance;
    size_t nodes = 0;

    if (argc < 2 || rounds == 0 || looks == NULL || around == NULL || claims == NULL ||
        ends == NULL) {
        (void)fprintf(stderr, "usage: claim DIRECTORY [ROUNDS]\n");
        return 2;
    }
    make_machine(argv[1]);
    (void)snprintf(path, sizeof(path), "%s/qvm.db", argv[1]);
    if (store_open(path, &store, &err) != 0) {
        fail(path, &err);
    }
    instance = make_instance(store);
    for (size_t i = 0; i < rounds; i++) {
        struct pci_member found[DEVICES];
        double begun = cpu_ms();

        look(store, argv[1], found);
        looks[i] = cpu_ms() - begun;
        begun = cpu_ms();
        nodes = look_around(found);
        around[i] = cpu_ms() - begun;
        begun = cpu_ms();
        claim(store, instance, found);
        claims[i] = cpu_ms() - begun;
        begun = cpu_ms();
        release(store, instance);
        ends[i] = cpu_ms() - begun;
    }
    tell("to look at 8 devices", looks, rounds);
    tell("at nodes and addresses", around, rounds);
    tell("to claim them, one commit", claims, rounds);
    tell("to let them go, one commit", ends, rounds);
    (void)printf("device nodes of PCI functions here: %zu\n", nodes);
    store_close(store);
    return 0;
}
