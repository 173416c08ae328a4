/* Memory that guests share, as QNX Hypervisor's guests find it.
 *
 * The *factory page* is where a guest asks for a region by its name. A region that it gets lies in
 * the device's window: a *control page*, in which each word is a register, and the region's memory
 * behind it. Little-endian, any width.
 *
 * Factory page: 0 `signature` (64 bits), 8 `shmem` (64 bits: the address of the control page that
 * was made last), 16 `vector` (the interrupt line; on PCI the function says it), 20 `status` (what
 * became of the last wish), 24 `size` (in pages; a write is the wish for the region of that name,
 * made with that size if it is not there), 28 `name` (32 bytes), 60 `find` (a write is the same
 * wish for a region that is there). Control page: 0 `status` (bits 0-15 who signalled, cleared by
 * reading; bits 16-31 who is attached), 4 `idx` (our number), 8 `notify` (a write signals the
 * clients whose bits are set), 12 `detach` (a write lets go). An interrupt comes for a signal, and
 * when somebody is attached or gone. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qvm/vdev.h>

#define SIGNATURE    UINT64_C(0x4d534732474d5651)
#define PAGE         UINT64_C(4096)
#define VENDOR       0x1c05
#define DEVICE       0x0001
#define CLASS_MEMORY 0x050000
#define WINDOW_MIN   (4 * PAGE)
#define WINDOW_MAX   (UINT64_C(1) << 36)

enum { REGION_FACTORY, REGION_WINDOW };
enum { BAR_FACTORY, BAR_VECTORS, BAR_WINDOW };
enum { FACTORY_SIZE = 24, FACTORY_NAME = 28, FACTORY_FIND = 60 };
enum { CONTROL_STATUS = 0, CONTROL_NOTIFY = 8, CONTROL_DETACH = 12 };

struct factory {
    uint64_t signature, shmem;
    uint32_t vector, status, size;
    char name[VDEV_SHMEM_NAME_MAX];
    uint32_t find;
};
_Static_assert(sizeof(struct factory) == 64, "the page as it is");
_Static_assert(offsetof(struct factory, size) == FACTORY_SIZE, "the page as it is");
_Static_assert(offsetof(struct factory, name) == FACTORY_NAME, "the page as it is");
_Static_assert(offsetof(struct factory, find) == FACTORY_FIND, "the page as it is");

struct region {
    bool is_there, has_news;
    uint32_t handle, client;
    uint64_t start, bytes; /* of the control page in the window; of the memory behind it */
    char name[VDEV_SHMEM_NAME_MAX + 1];
};

struct shmem {
    const struct vdev_services *host;
    struct vdev_slot *slot;
    uint64_t window;
    bool is_asking; /* a vCPU waits for the host */
    uint32_t resets;
    struct factory factory;
    struct region regions[VDEV_SHMEM_MAX];
};

enum { OPTION_CREATE, OPTION_ALLOW, OPTION_DENY, OPTION_WINDOW };

static const struct vdev_option options[] = {
    [OPTION_CREATE] = {.name = "create",
                       .kind = VDEV_OPTION_SHMEM,
                       .may_repeat = true,
                       .doc = "NAME,SIZE: a region that is there as long as the guest"},
    [OPTION_ALLOW] = {.name = "allow",
                      .kind = VDEV_OPTION_SHMEM,
                      .may_repeat = true,
                      .doc = "PATTERN: regions that the guest may have; without it, all"},
    [OPTION_DENY] = {.name = "deny",
                     .kind = VDEV_OPTION_SHMEM,
                     .may_repeat = true,
                     .doc = "PATTERN: regions that it may not have"},
    [OPTION_WINDOW] = {.name = "window",
                       .kind = VDEV_OPTION_SHMEM,
                       .min = WINDOW_MIN,
                       .max = WINDOW_MAX,
                       .fallback = "16M",
                       .doc = "how much it may have at once: a power of two"},
    {.name = NULL},
};

/* ---- interrupts ---- */

static void update_line(struct shmem *shmem)
{
    bool has_news = false;

    for (uint32_t i = 0; i < VDEV_SHMEM_MAX; i++) {
        has_news = has_news || (shmem->regions[i].is_there && shmem->regions[i].has_news);
    }
    shmem->host->intr(shmem->slot, 0, has_news && !shmem->host->has_vectors(shmem->slot));
}

static void shmem_changed(void *device, uint32_t handle)
{
    struct shmem *shmem = device;

    for (uint32_t i = 0; i < VDEV_SHMEM_MAX; i++) {
        struct region *region = &shmem->regions[i];

        if (region->is_there && region->handle == handle) {
            region->has_news = true;
            (void)shmem->host->vector(shmem->slot, 0); /* or the line, below */
        }
    }
    update_line(shmem);
}

/* ---- the window ---- */

static bool is_free(const struct shmem *shmem, uint64_t start, uint64_t end)
{
    for (uint32_t i = 0; i < VDEV_SHMEM_MAX; i++) {
        const struct region *region = &shmem->regions[i];

        if (region->is_there && start < region->start + PAGE + region->bytes &&
            region->start < end) {
            return false;
        }
    }
    return true;
}

/* Where a region of that many bytes with its control page fits; UINT64_MAX: nowhere. */
static uint64_t find_room(const struct shmem *shmem, uint64_t bytes)
{
    uint64_t size = bytes + PAGE, best = UINT64_MAX;

    if (size <= shmem->window && is_free(shmem, 0, size)) {
        return 0;
    }
    for (uint32_t i = 0; i < VDEV_SHMEM_MAX; i++) { /* or behind one that is there */
        const struct region *region = &shmem->regions[i];
        uint64_t start = region->start + PAGE + region->bytes;

        if (region->is_there && start < best && size <= shmem->window &&
            start <= shmem->window - size && is_free(shmem, start, start + size)) {
            best = start;
        }
    }
    return best;
}

/* The most bytes that a region may have now. */
static uint64_t room_left(const struct shmem *shmem)
{
    uint64_t low = 0, high = shmem->window / PAGE; /* pages: there is room for low, not for high */

    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;

        if (find_room(shmem, middle * PAGE) != UINT64_MAX) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low * PAGE;
}

static struct region *find_region(struct shmem *shmem, const char *name)
{
    for (uint32_t i = 0; i < VDEV_SHMEM_MAX; i++) {
        struct region *region = &shmem->regions[i];

        if (region->is_there && strcmp(region->name, name) == 0) {
            return region;
        }
    }
    return NULL;
}

static struct region *free_region(struct shmem *shmem)
{
    for (uint32_t i = 0; i < VDEV_SHMEM_MAX; i++) {
        if (!shmem->regions[i].is_there) {
            return &shmem->regions[i];
        }
    }
    return NULL;
}

/* ---- wishes ---- */

static enum vdev_shmem_status show(struct shmem *shmem, const struct vdev_shmem *given,
                                   const char *name)
{
    struct region *region = free_region(shmem);
    uint64_t start = find_room(shmem, given->bytes);

    if (region == NULL || start == UINT64_MAX ||
        shmem->host->shmem_show(shmem->slot, given->handle, REGION_WINDOW, start + PAGE) != 0) {
        shmem->host->shmem_detach(shmem->slot, given->handle);
        return VDEV_SHMEM_NO_MEMORY;
    }
    *region = (struct region){.is_there = true,
                              .handle = given->handle,
                              .client = given->client,
                              .start = start,
                              .bytes = given->bytes};
    (void)snprintf(region->name, sizeof(region->name), "%s", name);
    shmem_changed(shmem, region->handle); /* what came before it was here to hear it */
    return VDEV_SHMEM_OK;
}

static enum vdev_shmem_status attach(struct shmem *shmem, const char *name, uint64_t bytes)
{
    struct vdev_shmem given = {.size = sizeof(given)};
    uint32_t resets = shmem->resets;
    enum vdev_shmem_status status;

    if (find_region(shmem, name) != NULL) {
        return VDEV_SHMEM_OK; /* a driver that was loaded anew */
    }
    if (free_region(shmem) == NULL) {
        return VDEV_SHMEM_TOO_MANY;
    }
    if (shmem->host->region_address(shmem->slot, REGION_WINDOW) == UINT64_MAX) {
        return VDEV_SHMEM_FAILED;
    }
    shmem->is_asking = true;
    status = shmem->host->shmem_attach(shmem->slot, name, bytes, room_left(shmem), &given);
    shmem->is_asking = false;
    if (status == VDEV_SHMEM_OK && resets != shmem->resets) {
        shmem->host->shmem_detach(shmem->slot, given.handle);
        return VDEV_SHMEM_FAILED;
    }
    return status == VDEV_SHMEM_OK ? show(shmem, &given, name) : status;
}

static void wish(struct shmem *shmem, uint32_t pages)
{
    struct factory *factory = &shmem->factory;
    char name[VDEV_SHMEM_NAME_MAX + 1] = "";
    const struct region *region;
    uint64_t window;

    if (shmem->is_asking) {
        return; /* another vCPU's: this one's driver would have to lock */
    }
    memcpy(name, factory->name, VDEV_SHMEM_NAME_MAX);
    factory->status = attach(shmem, name, pages * PAGE);
    window = shmem->host->region_address(shmem->slot, REGION_WINDOW);
    if (factory->status == VDEV_SHMEM_OK && window == UINT64_MAX) {
        factory->status = VDEV_SHMEM_FAILED; /* the guest has switched it off meanwhile */
    }
    region = factory->status == VDEV_SHMEM_OK ? find_region(shmem, name) : NULL;
    factory->shmem = 0;
    if (region != NULL) {
        factory->shmem = window + region->start;
        factory->size = (uint32_t)(region->bytes / PAGE);
    }
}

/* ---- the pages ---- */

static uint64_t part_of(const void *bytes, uint64_t count, uint64_t offset, uint32_t size)
{
    uint64_t value = 0;

    if (offset < count && size <= count - offset) {
        memcpy(&value, (const uint8_t *)bytes + offset, size);
    }
    return value;
}

static struct region *region_at(struct shmem *shmem, uint64_t offset)
{
    for (uint32_t i = 0; i < VDEV_SHMEM_MAX; i++) {
        struct region *region = &shmem->regions[i];

        if (region->is_there && offset >= region->start && offset - region->start < PAGE) {
            return region;
        }
    }
    return NULL;
}

static uint64_t read_control(struct shmem *shmem, struct region *region, uint64_t offset,
                             uint32_t size)
{
    uint32_t words[4] = {0, region->client, 0, 0};

    if (offset == CONTROL_STATUS) {
        region->has_news = false;
        words[0] = shmem->host->shmem_status(shmem->slot, region->handle);
        update_line(shmem);
    }
    return part_of(words, sizeof(words), offset, size);
}

static uint64_t shmem_read(void *device, uint32_t region, uint64_t offset, uint32_t size)
{
    struct shmem *shmem = device;
    struct region *at = region == REGION_WINDOW ? region_at(shmem, offset) : NULL;

    if (region == REGION_FACTORY) {
        return part_of(&shmem->factory, sizeof(shmem->factory), offset, size);
    }
    return at != NULL ? read_control(shmem, at, offset - at->start, size) : 0;
}

static void write_factory(struct shmem *shmem, uint64_t offset, uint32_t size, uint64_t value)
{
    struct factory *factory = &shmem->factory;

    if (offset >= FACTORY_NAME && offset < FACTORY_FIND && size <= FACTORY_FIND - offset) {
        memcpy(factory->name + (offset - FACTORY_NAME), &value, size);
    } else if (offset == FACTORY_SIZE && size == sizeof(factory->size)) {
        wish(shmem, (uint32_t)value);
    } else if (offset == FACTORY_FIND && size == sizeof(factory->find)) {
        wish(shmem, 0);
    }
}

static void detach(struct shmem *shmem, struct region *region)
{
    shmem->host->shmem_detach(shmem->slot, region->handle);
    *region = (struct region){0};
    update_line(shmem);
}

static void shmem_write(void *device, uint32_t region, uint64_t offset, uint32_t size,
                        uint64_t value)
{
    struct shmem *shmem = device;
    struct region *at = region == REGION_WINDOW ? region_at(shmem, offset) : NULL;

    if (region == REGION_FACTORY) {
        write_factory(shmem, offset, size, value);
    } else if (at != NULL && offset - at->start == CONTROL_NOTIFY) {
        shmem->host->shmem_notify(shmem->slot, at->handle, (uint32_t)value & 0xffff);
    } else if (at != NULL && offset - at->start == CONTROL_DETACH) {
        detach(shmem, at);
    }
}

/* ---- its life ---- */

static void shmem_reset(void *device)
{
    struct shmem *shmem = device;
    uint32_t vector = shmem->factory.vector;

    for (uint32_t i = 0; i < VDEV_SHMEM_MAX; i++) {
        if (shmem->regions[i].is_there) {
            detach(shmem, &shmem->regions[i]);
        }
    }
    shmem->resets++;
    shmem->factory = (struct factory){.signature = SIGNATURE, .vector = vector};
}

static int set_place(struct shmem *shmem, const struct vdev_config *config)
{
    const struct vdev_bar bars[] = {
        {.index = BAR_FACTORY, .space = VDEV_SPACE_MEMORY, .size = PAGE, .region = REGION_FACTORY},
        {.index = BAR_WINDOW,
         .space = VDEV_SPACE_MEMORY,
         .is_64bit = true,
         .is_prefetchable = true,
         .size = shmem->window,
         .region = REGION_WINDOW},
    };
    const struct vdev_pci_function function = {.size = sizeof(function),
                                               .vendor = VENDOR,
                                               .device = DEVICE,
                                               .class_code = CLASS_MEMORY,
                                               .has_intx = true,
                                               .vector_count = 1,
                                               .vector_bar = BAR_VECTORS,
                                               .bars = bars,
                                               .bar_count = sizeof(bars) / sizeof(bars[0])};
    const struct vdev_region *regions = config->regions;

    if (config->place == VDEV_PLACE_PCI) {
        return shmem->host->pci_function(shmem->slot, &function);
    }
    if (config->region_count != 2 || regions[0].space != VDEV_SPACE_MEMORY ||
        regions[1].space != VDEV_SPACE_MEMORY || regions[0].start % PAGE != 0 ||
        regions[0].size != PAGE || regions[1].start % PAGE != 0 ||
        regions[1].size != shmem->window) {
        return shmem->host->fail(shmem->slot, NULL,
                                 "shmem is on PCI, or at 'loc mem:ADDRESS,4K', the factory page, "
                                 "and 'loc mem:ADDRESS,%" PRIu64 "K', the window",
                                 shmem->window >> 10);
    }
    if (config->intrs[0] == QVM_VDEV_NO_INTR) {
        return shmem->host->fail(shmem->slot, NULL, "shmem at an address needs an 'intr'");
    }
    shmem->factory.vector = config->intrs[0];
    return 0;
}

static int shmem_create(const struct vdev_services *host, struct vdev_slot *slot,
                        const struct vdev_config *config, void **device)
{
    struct shmem *shmem = calloc(1, sizeof(*shmem));
    int r;

    if (shmem == NULL) {
        return host->fail(slot, NULL, "no memory");
    }
    shmem->host = host;
    shmem->slot = slot;
    for (uint32_t i = 0; i < config->value_count; i++) {
        if (config->values[i].option == OPTION_WINDOW) {
            shmem->window = config->values[i].number[0];
        }
    }
    r = set_place(shmem, config);
    if (r != 0) {
        free(shmem);
        return r;
    }
    shmem_reset(shmem);
    *device = shmem;
    return 0;
}

static void shmem_state(void *device, vdev_state_fn add, void *context)
{
    const struct shmem *shmem = device;
    char name[16], text[96];

    for (uint32_t i = 0; i < VDEV_SHMEM_MAX; i++) {
        const struct region *region = &shmem->regions[i];

        if (region->is_there) {
            (void)snprintf(name, sizeof(name), "region%u", i);
            (void)snprintf(text, sizeof(text), "%s client %u %" PRIu64 " KiB at 0x%" PRIx64,
                           region->name, region->client, region->bytes >> 10, region->start);
            add(context, name, text);
        }
    }
}

static const struct vdev_ops ops = {
    .size = sizeof(ops),
    .create = shmem_create,
    .destroy = free,
    .reset = shmem_reset,
    .read = shmem_read,
    .write = shmem_write,
    .state = shmem_state,
    .shmem_changed = shmem_changed,
};

static const struct vdev_module module = {
    .size = sizeof(module),
    .abi = QVM_VDEV_ABI,
    .name = "shmem",
    .doc = "memory that guests share, by name",
    .options = options,
    .default_intr = QVM_VDEV_NO_INTR,
    .ops = &ops,
    .can_pci = true,
    .is_pci_usual = true,
    .has_level_lines = true,
};

QVM_VDEV_EXPORT(module);
