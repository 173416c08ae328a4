/* Where firmware asks the VM what it is made of: QEMU's fw_cfg, by ports and by DMA.
 *
 * QEMU's docs/specs/fw_cfg.rst; keys from include/standard-headers/linux/qemu_fw_cfg.h. Files of
 * the VM (ACPI, SMBIOS, the memory map) come from the qvm; what firmware is to do stands in the
 * options: names and meanings as of SeaBIOS' docs/Runtime_config.md. Nothing can be written. */
#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qvm/vdev.h>
#include <qvm/vdev_fields.h>

#define NAME_SIZE   56u
#define FILES_MAX   32u
#define TEXT_MAX    1024u       /* of all lines of `bootorder` */
#define DMA_MAX     (16u << 20) /* bytes of one transfer */
#define DMA_STEP    4096u
#define ENTRY_SIZE  64u /* of the directory */
#define LITTLE_SIZE 8u

enum region { REGION_PORTS, REGION_DMA };
enum port { PORT_SELECT, PORT_DATA };

enum key {
    KEY_SIGNATURE = 0x00,
    KEY_ID = 0x01,
    KEY_RAM_SIZE = 0x03,
    KEY_CPUS = 0x05,
    KEY_CPUS_MAX = 0x0f,
    KEY_DIRECTORY = 0x19,
    KEY_FILES = 0x20,
};

#define ID_PORTS 1u
#define ID_DMA   2u

enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16 };

static const char dma_signature[8] = {'Q', 'E', 'M', 'U', ' ', 'C', 'F', 'G'};

struct dma {
    uint32_t control, length;
    uint64_t address;
} __attribute__((packed)); /* all big-endian */

/* One file: ours, with its bytes, or one of the VM's. */
struct file {
    char name[NAME_SIZE];
    uint32_t size;
    bool is_vms;
    uint32_t index; /* of the VM's */
    uint8_t little[LITTLE_SIZE];
    const char *text; /* instead of `little` */
};

struct fw_cfg {
    const struct vdev_services *host;
    struct vdev_slot *slot;
    uint32_t cpu_count;
    uint64_t ram_size;
    char bootorder[TEXT_MAX];
    uint32_t own_count, file_count;
    struct file files[FILES_MAX];
    uint8_t directory[4 + FILES_MAX * ENTRY_SIZE];
    uint16_t key;
    uint64_t offset; /* of the next byte; never wraps: it grows by at most DMA_MAX at a time */
    uint32_t dma_high;
    uint64_t reads, transfers;
};

enum option { SERCON, BOOT_MENU, BOOT_MENU_WAIT, BOOT_FAIL_WAIT, BOOTORDER };

static const struct vdev_option options[] = {
    [SERCON] = {.name = "sercon",
                .kind = VDEV_OPTION_NUMBER,
                .max = UINT16_MAX,
                .fallback = "0x3f8",
                .doc = "port of the serial line that shows the screen; 0: none"},
    [BOOT_MENU] = {.name = "boot-menu",
                   .kind = VDEV_OPTION_BOOL,
                   .fallback = "no",
                   .doc = "offer a menu of what to boot from"},
    [BOOT_MENU_WAIT] = {.name = "boot-menu-wait",
                        .kind = VDEV_OPTION_NUMBER,
                        .max = UINT16_MAX,
                        .doc = "milliseconds that the menu is offered"},
    [BOOT_FAIL_WAIT] = {.name = "boot-fail-wait",
                        .kind = VDEV_OPTION_NUMBER,
                        .max = UINT32_MAX,
                        .fallback = "0xffffffff",
                        .doc = "milliseconds to a reboot when nothing boots; the default is never"},
    [BOOTORDER] = {.name = "bootorder",
                   .kind = VDEV_OPTION_TEXT,
                   .may_repeat = true,
                   .doc = "a device to boot from, the first one first"},
    {.name = NULL},
};

static struct file *add_file(struct fw_cfg *cfg, const char *name, uint32_t size)
{
    struct file *file = &cfg->files[cfg->own_count++]; /* few: there is room */

    (void)snprintf(file->name, sizeof(file->name), "%s", name);
    file->size = size;
    return file;
}

static void add_number(struct fw_cfg *cfg, const char *name, uint64_t value, uint32_t size)
{
    uint64_t little = htole64(value);

    memcpy(add_file(cfg, name, size)->little, &little, sizeof(little));
}

static int add_boot_device(struct fw_cfg *cfg, const struct vdev_value *value)
{
    size_t used = strlen(cfg->bootorder), size = strlen(value->text);

    if (used + size + 2 > sizeof(cfg->bootorder)) {
        return cfg->host->fail(cfg->slot, value, "all lines of 'bootorder' have %u bytes at most",
                               TEXT_MAX - 1);
    }
    (void)snprintf(cfg->bootorder + used, sizeof(cfg->bootorder) - used, "%s%s",
                   used > 0 ? "\n" : "", value->text);
    return 0;
}

static int take_option(struct fw_cfg *cfg, const struct vdev_value *value)
{
    switch ((enum option)value->option) {
    case SERCON:
        if (value->number[0] != 0) {
            add_number(cfg, "etc/sercon-port", value->number[0], 2);
        }
        break;
    case BOOT_MENU:
        add_number(cfg, "etc/show-boot-menu", value->boolean, 2);
        break;
    case BOOT_MENU_WAIT:
        add_number(cfg, "etc/boot-menu-wait", value->number[0], 2);
        break;
    case BOOT_FAIL_WAIT:
        add_number(cfg, "etc/boot-fail-wait", value->number[0], 4);
        break;
    case BOOTORDER:
        return add_boot_device(cfg, value);
    }
    return 0;
}

static void add_own_files(struct fw_cfg *cfg, uint32_t cpu_count)
{
    /* S0 to S5: bit 7 says that it is there, the rest its sleep type. QEMU: hw/isa/lpc_ich9.c. */
    static const uint8_t states[] = {0x80, 0, 0, 0, 0, 0x85};

    memcpy(add_file(cfg, "etc/system-states", sizeof(states))->little, states, sizeof(states));
    add_number(cfg, "etc/boot-cpus", cpu_count, 2); /* QEMU: hw/i386/x86.c */
    if (cfg->bootorder[0] != '\0') {
        add_file(cfg, "bootorder", (uint32_t)strlen(cfg->bootorder) + 1)->text = cfg->bootorder;
    }
}

static int fw_cfg_create(const struct vdev_services *host, struct vdev_slot *slot,
                         const struct vdev_config *config, void **device)
{
    struct fw_cfg *cfg;

    if (config->region_count != 2 || config->regions[REGION_PORTS].size != 2 ||
        config->regions[REGION_DMA].size != 8) {
        return host->fail(slot, NULL, "fw-cfg has 2 ports for its data and 8 for its DMA");
    }
    cfg = calloc(1, sizeof(*cfg));
    if (cfg == NULL) {
        return host->fail(slot, NULL, "no memory");
    }
    cfg->host = host;
    cfg->slot = slot;
    cfg->cpu_count = config->cpu_count;
    cfg->ram_size = config->ram_below_4g + config->ram_above_4g;
    for (uint32_t i = 0; i < config->value_count; i++) {
        int r = take_option(cfg, &config->values[i]);

        if (r != 0) {
            free(cfg);
            return r;
        }
    }
    add_own_files(cfg, config->cpu_count);
    *device = cfg;
    return 0;
}

static void fw_cfg_reset(void *device)
{
    struct fw_cfg *cfg = device;

    cfg->key = 0;
    cfg->offset = 0;
    cfg->dma_high = 0;
    cfg->reads = cfg->transfers = 0;
}

/* Our files, then the VM's as they are now. */
static void list_files(struct fw_cfg *cfg)
{
    struct vdev_firmware_file vms;

    cfg->file_count = cfg->own_count;
    for (uint32_t i = 0;
         cfg->file_count < FILES_MAX && cfg->host->firmware_file(cfg->slot, i, &vms); i++) {
        struct file *file = &cfg->files[cfg->file_count++];

        *file = (struct file){.size = vms.size, .is_vms = true, .index = i};
        (void)snprintf(file->name, sizeof(file->name), "%s", vms.name);
    }
}

static void write_directory(struct fw_cfg *cfg)
{
    uint32_t count = htobe32(cfg->file_count);

    memset(cfg->directory, 0, sizeof(cfg->directory));
    memcpy(cfg->directory, &count, sizeof(count));
    for (uint32_t i = 0; i < cfg->file_count; i++) {
        uint8_t *entry = cfg->directory + 4 + i * ENTRY_SIZE;
        uint32_t size = htobe32(cfg->files[i].size);
        uint16_t key = htobe16((uint16_t)(KEY_FILES + i));

        memcpy(entry, &size, sizeof(size));
        memcpy(entry + 4, &key, sizeof(key));
        memcpy(entry + 8, cfg->files[i].name, NAME_SIZE);
    }
}

static void select_key(struct fw_cfg *cfg, uint16_t key)
{
    cfg->key = key;
    cfg->offset = 0;
    list_files(cfg);
    if (key == KEY_DIRECTORY) {
        write_directory(cfg);
    }
}

/* `size` bytes from cfg->offset on of an item of `all` bytes; behind its end are zeroes. */
static void copy_item(const struct fw_cfg *cfg, const void *item, uint64_t all, uint8_t *to,
                      uint64_t size)
{
    uint64_t there = cfg->offset < all ? all - cfg->offset : 0;

    memset(to, 0, size);
    if (there > 0) {
        memcpy(to, (const uint8_t *)item + cfg->offset, there < size ? there : size);
    }
}

static void copy_file(const struct fw_cfg *cfg, uint8_t *to, uint64_t size)
{
    const struct file *file = &cfg->files[cfg->key - KEY_FILES];

    if (file->is_vms) {
        cfg->host->firmware_read(cfg->slot, file->index, cfg->offset, to, size);
    } else {
        copy_item(cfg, file->text != NULL ? (const void *)file->text : file->little, file->size, to,
                  size);
    }
}

static void copy_selected(const struct fw_cfg *cfg, uint8_t *to, uint64_t size)
{
    uint64_t little = htole64(cfg->cpu_count);

    switch (cfg->key) {
    case KEY_SIGNATURE:
        copy_item(cfg, dma_signature, 4, to, size);
        break;
    case KEY_ID:
        little = htole64(ID_PORTS | ID_DMA);
        copy_item(cfg, &little, 4, to, size);
        break;
    case KEY_RAM_SIZE:
        little = htole64(cfg->ram_size);
        copy_item(cfg, &little, 8, to, size);
        break;
    case KEY_CPUS:
    case KEY_CPUS_MAX:
        copy_item(cfg, &little, 2, to, size);
        break;
    case KEY_DIRECTORY:
        copy_item(cfg, cfg->directory, sizeof(cfg->directory), to, size);
        break;
    default:
        if (cfg->key >= KEY_FILES && cfg->key < KEY_FILES + cfg->file_count) {
            copy_file(cfg, to, size);
        } else {
            memset(to, 0, size);
        }
    }
}

/* The next `length` bytes to guest memory, step by step. */
static bool copy_to_guest(struct fw_cfg *cfg, uint64_t address, uint32_t length)
{
    uint8_t bytes[DMA_STEP];

    while (length > 0) {
        uint32_t step = length < DMA_STEP ? length : DMA_STEP;

        copy_selected(cfg, bytes, step);
        if (cfg->host->memory_write(cfg->slot, address, bytes, step) != 0) {
            return false;
        }
        cfg->offset += step;
        address += step;
        length -= step;
    }
    return true;
}

static void run_dma(struct fw_cfg *cfg, uint64_t at)
{
    struct dma dma; /* our copy: read once */
    uint32_t control, length, result;
    bool is_done = true;

    cfg->transfers++;
    if (cfg->host->memory_read(cfg->slot, at, &dma, sizeof(dma)) != 0) {
        return;
    }
    control = be32toh(dma.control);
    length = be32toh(dma.length);
    if ((control & DMA_SELECT) != 0) {
        select_key(cfg, (uint16_t)(control >> 16));
    }
    if (length > DMA_MAX || (control & DMA_WRITE) != 0) {
        is_done = false;
    } else if ((control & DMA_READ) != 0) {
        is_done = copy_to_guest(cfg, be64toh(dma.address), length);
    } else if ((control & DMA_SKIP) != 0) {
        cfg->offset += length;
    }
    result = htobe32(is_done ? 0 : DMA_ERROR);
    (void)cfg->host->memory_write(cfg->slot, at, &result, sizeof(result)); /* it is RAM: read */
}

static uint64_t read_dma(uint64_t offset, uint32_t size)
{
    uint64_t value = 0;

    memcpy(&value, dma_signature + offset, size); /* inside: regions have their size */
    return value;
}

static void write_dma(struct fw_cfg *cfg, uint64_t offset, uint32_t size, uint64_t value)
{
    if (size == 8) {
        run_dma(cfg, be64toh(value));
    } else if (size == 4 && offset == 0) {
        cfg->dma_high = be32toh((uint32_t)value);
    } else if (size == 4) {
        uint64_t high = cfg->dma_high;

        cfg->dma_high = 0;
        run_dma(cfg, high << 32 | be32toh((uint32_t)value));
    }
}

static uint64_t fw_cfg_read(void *device, uint32_t region, uint64_t offset, uint32_t size)
{
    struct fw_cfg *cfg = device;
    uint8_t byte = 0;

    if (region == REGION_DMA) {
        return read_dma(offset, size);
    }
    if (offset == PORT_DATA) {
        copy_selected(cfg, &byte, 1);
        cfg->offset++;
        cfg->reads++;
    }
    return byte;
}

static void fw_cfg_write(void *device, uint32_t region, uint64_t offset, uint32_t size,
                         uint64_t value)
{
    struct fw_cfg *cfg = device;

    if (region == REGION_DMA) {
        write_dma(cfg, offset, size, value);
    } else if (offset == PORT_SELECT && size == 2) {
        select_key(cfg, (uint16_t)value);
    }
}

static void fw_cfg_state(void *device, vdev_state_fn add, void *context)
{
    struct fw_cfg *cfg = device;
    char text[32];

    (void)snprintf(text, sizeof(text), "0x%x", cfg->key);
    add(context, "key", text);
    (void)snprintf(text, sizeof(text), "%" PRIu64, cfg->offset);
    add(context, "offset", text);
    (void)snprintf(text, sizeof(text), "%" PRIu64, cfg->reads);
    add(context, "reads", text);
    (void)snprintf(text, sizeof(text), "%" PRIu64, cfg->transfers);
    add(context, "transfers", text);
    list_files(cfg);
    for (uint32_t i = 0; i < cfg->file_count; i++) {
        (void)snprintf(text, sizeof(text), "%" PRIu32 " bytes", cfg->files[i].size);
        add(context, cfg->files[i].name, text);
    }
}

static const struct vdev_field fields[] = {
    VDEV_NUMBER(1, struct fw_cfg, key, 0),
    VDEV_NUMBER(2, struct fw_cfg, offset, INT64_MAX),
    VDEV_NUMBER(3, struct fw_cfg, dma_high, 0),
    {0},
};

static int fw_cfg_save(void *device)
{
    const struct fw_cfg *cfg = device;

    return vdev_put_fields(cfg->host, cfg->slot, fields, 0, cfg);
}

static int fw_cfg_restore(void *device)
{
    struct fw_cfg *cfg = device;
    int r = vdev_get_fields(cfg->host, cfg->slot, fields, 0, cfg);
    uint64_t offset = cfg->offset;

    if (r == 0) {
        select_key(cfg, cfg->key);
        cfg->offset = offset;
    }
    return r;
}

static const struct vdev_region default_regions[] = {
    [REGION_PORTS] = {VDEV_SPACE_IO, 0x510, 2},
    [REGION_DMA] = {VDEV_SPACE_IO, 0x514, 8},
};

static const struct vdev_ops ops = {
    .size = sizeof(ops),
    .create = fw_cfg_create,
    .destroy = free,
    .reset = fw_cfg_reset,
    .read = fw_cfg_read,
    .write = fw_cfg_write,
    .state = fw_cfg_state,
    .save = fw_cfg_save,
    .restore = fw_cfg_restore,
};

static const struct vdev_module module = {
    .size = sizeof(module),
    .abi = QVM_VDEV_ABI,
    .name = "fw-cfg",
    .doc = "what firmware may ask the VM",
    .options = options,
    .default_regions = default_regions,
    .default_region_count = 2,
    .default_intr = QVM_VDEV_NO_INTR,
    .ops = &ops,
};

QVM_VDEV_EXPORT(module);
