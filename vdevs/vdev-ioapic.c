/* The I/O interrupt controller of PCs: Intel's 82093AA.
 *
 * Section numbers are those of Intel's data sheet "82093AA I/O Advanced Programmable Interrupt
 * Controller (IOAPIC)", order number 290566-001, May 1996. What it sends to the local APICs are
 * messages as of MSI (Intel SDM 3A, 11.11); their end of a level-triggered interrupt comes back.
 *
 * A line's polarity is that of its device: high is asserted, whatever an entry says. Bits 49 to 55
 * of an entry are the higher bits of a wide APIC id (KVM_FEATURE_MSI_EXT_DEST_ID). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <qvm/vdev.h>
#include <qvm/vdev_fields.h>

#define REGION_SIZE_MIN 0x20u
#define SELECT          0x00u /* 3.1.1 IOREGSEL */
#define WINDOW          0x10u /* 3.1.2 IOWIN */

/* 3.2 */
#define REG_ID          0x00u
#define REG_VERSION     0x01u
#define REG_ARBITRATION 0x02u
#define REG_REDIRECTION 0x10u

#define PIN_COUNT 24u
#define VERSION   0x11u
#define ID_MASK   0x0f000000u

/* 3.2.4 */
#define ENTRY_VECTOR(e)   ((uint8_t)(e))
#define ENTRY_MODE(e)     ((uint32_t)((e) >> 8 & 7))
#define ENTRY_LOGICAL     (UINT64_C(1) << 11)
#define ENTRY_REMOTE_IRR  (UINT64_C(1) << 14)
#define ENTRY_LEVEL       (UINT64_C(1) << 15)
#define ENTRY_MASKED      (UINT64_C(1) << 16)
#define ENTRY_DEST(e)     ((uint32_t)((e) >> 56))
#define ENTRY_DEST_EXT(e) ((uint32_t)((e) >> 49 & 0x7f))
#define ENTRY_WRITABLE    UINT64_C(0xfffe00000001afff)
#define MODE_EXTINT       7u

/* Intel SDM 3A, 11.11 */
#define MESSAGE_ADDRESS 0xfee00000u
#define MESSAGE_LOGICAL 0x4u
#define MESSAGE_ASSERT  0x4000u
#define MESSAGE_LEVEL   0x8000u

struct ioapic {
    const struct vdev_services *host;
    struct vdev_slot *slot;
    uint8_t select;
    uint32_t id;
    uint32_t inputs; /* levels, by pin */
    uint32_t edges;  /* that came while their entry was masked */
    uint64_t entries[PIN_COUNT];
    uint8_t watched[256]; /* entries that are level-triggered with that vector */
    uint64_t sent;
};

static bool is_level(uint64_t entry)
{
    return (entry & ENTRY_LEVEL) != 0;
}

static void send(struct ioapic *ioapic, uint64_t entry)
{
    uint64_t address = MESSAGE_ADDRESS | ENTRY_DEST(entry) << 12 | ENTRY_DEST_EXT(entry) << 5 |
                       ((entry & ENTRY_LOGICAL) != 0 ? MESSAGE_LOGICAL : 0);
    uint32_t data = ENTRY_VECTOR(entry) | ENTRY_MODE(entry) << 8 | MESSAGE_ASSERT |
                    (is_level(entry) ? MESSAGE_LEVEL : 0);

    ioapic->sent++;
    ioapic->host->message(ioapic->slot, address, data);
}

/* 2.2, 3.2.4: send what is due at a pin. */
static void serve(struct ioapic *ioapic, uint32_t pin)
{
    uint64_t *entry = &ioapic->entries[pin];
    uint32_t bit = UINT32_C(1) << pin;

    if ((*entry & ENTRY_MASKED) != 0 || ENTRY_MODE(*entry) == MODE_EXTINT) {
        return; /* an 8259 on an IOAPIC's pin: here its wire leads to the processor */
    }
    if (!is_level(*entry)) {
        if ((ioapic->edges & bit) != 0) {
            ioapic->edges &= ~bit;
            send(ioapic, *entry);
        }
    } else if ((ioapic->inputs & bit) != 0 && (*entry & ENTRY_REMOTE_IRR) == 0) {
        *entry |= ENTRY_REMOTE_IRR;
        send(ioapic, *entry);
    }
}

static void ioapic_input(void *device, uint32_t pin, bool is_high)
{
    struct ioapic *ioapic = device;
    uint32_t bit = UINT32_C(1) << pin % PIN_COUNT;
    bool rises = is_high && (ioapic->inputs & bit) == 0;

    pin %= PIN_COUNT;
    ioapic->inputs = is_high ? ioapic->inputs | bit : ioapic->inputs & ~bit;
    if (rises && !is_level(ioapic->entries[pin])) {
        ioapic->edges |= bit;
    }
    if (rises) {
        serve(ioapic, pin);
    }
}

static void ioapic_end_of_interrupt(void *device, uint8_t vector)
{
    struct ioapic *ioapic = device;

    for (uint32_t pin = 0; pin < PIN_COUNT; pin++) {
        uint64_t *entry = &ioapic->entries[pin];

        if (is_level(*entry) && ENTRY_VECTOR(*entry) == vector &&
            (*entry & ENTRY_REMOTE_IRR) != 0) {
            *entry &= ~ENTRY_REMOTE_IRR;
            serve(ioapic, pin);
        }
    }
}

/* The local APICs tell the ends of vectors that an entry with a level trigger uses. */
static void watch(struct ioapic *ioapic, uint64_t entry, bool begins)
{
    uint8_t *users = &ioapic->watched[ENTRY_VECTOR(entry)];

    if (!is_level(entry)) {
        return;
    }
    *users = (uint8_t)(begins ? *users + 1 : *users - 1);
    if (*users == (begins ? 1 : 0)) {
        ioapic->host->watch_vector(ioapic->slot, ENTRY_VECTOR(entry), begins);
    }
}

static void write_entry(struct ioapic *ioapic, uint32_t index, uint32_t value)
{
    uint32_t pin = index / 2, shift = index % 2 * 32;
    uint64_t *entry = &ioapic->entries[pin];
    uint64_t old = *entry;
    uint64_t mask = ENTRY_WRITABLE & (uint64_t)UINT32_MAX << shift;

    *entry = (old & ~mask) | ((uint64_t)value << shift & mask);
    if (!is_level(*entry)) {
        *entry &= ~ENTRY_REMOTE_IRR;
    } else {
        ioapic->edges &= ~(UINT32_C(1) << pin);
    }
    if (((old ^ *entry) & (ENTRY_LEVEL | 0xff)) != 0) {
        watch(ioapic, *entry, true); /* first, so that a vector that stays is not let go */
        watch(ioapic, old, false);
    }
    serve(ioapic, pin);
}

static uint32_t read_register(const struct ioapic *ioapic)
{
    uint32_t index = ioapic->select - REG_REDIRECTION;

    switch (ioapic->select) {
    case REG_ID:
    case REG_ARBITRATION: /* 3.2.3: it takes the id's value */
        return ioapic->id;
    case REG_VERSION:
        return (PIN_COUNT - 1) << 16 | VERSION;
    default:
        return index < 2 * PIN_COUNT ? (uint32_t)(ioapic->entries[index / 2] >> (index % 2 * 32))
                                     : UINT32_MAX;
    }
}

static void write_register(struct ioapic *ioapic, uint32_t value)
{
    uint32_t index = ioapic->select - REG_REDIRECTION;

    if (ioapic->select == REG_ID) {
        ioapic->id = value & ID_MASK;
    } else if (index < 2 * PIN_COUNT) { /* what lies below wraps around to more */
        write_entry(ioapic, index, value);
    }
}

/* 3.1: registers of 32 bits at multiples of 16; narrower reads get the low bytes. */
static uint64_t ioapic_read(void *device, uint32_t region, uint64_t offset, uint32_t size)
{
    const struct ioapic *ioapic = device;
    uint64_t value = 0;

    (void)region; /* there is one */
    (void)size;
    if ((offset & ~UINT64_C(3)) == SELECT) {
        value = ioapic->select;
    } else if ((offset & ~UINT64_C(3)) == WINDOW) {
        value = read_register(ioapic);
    }
    return value >> (8 * (offset & 3));
}

static void ioapic_write(void *device, uint32_t region, uint64_t offset, uint32_t size,
                         uint64_t value)
{
    struct ioapic *ioapic = device;

    (void)region; /* as above */
    if (offset == SELECT) {
        ioapic->select = (uint8_t)value;
    } else if (offset == WINDOW && size >= 4) {
        write_register(ioapic, (uint32_t)value);
    }
}

/* 3.2: all entries masked; the levels of the inputs stay. */
static void ioapic_reset(void *device)
{
    struct ioapic *ioapic = device;

    ioapic->select = 0;
    ioapic->id = 0;
    ioapic->edges = 0;
    for (uint32_t pin = 0; pin < PIN_COUNT; pin++) {
        watch(ioapic, ioapic->entries[pin], false);
        ioapic->entries[pin] = ENTRY_MASKED;
    }
}

static int ioapic_create(const struct vdev_services *host, struct vdev_slot *slot,
                         const struct vdev_config *config, void **device)
{
    struct ioapic *ioapic;

    if (config->regions[0].size < REGION_SIZE_MIN) {
        return host->fail(slot, NULL, "an IOAPIC has at least %u bytes, 'loc' gives %" PRIu64,
                          REGION_SIZE_MIN, config->regions[0].size);
    }
    ioapic = calloc(1, sizeof(*ioapic));
    if (ioapic == NULL) {
        return host->fail(slot, NULL, "no memory");
    }
    ioapic->host = host;
    ioapic->slot = slot;
    ioapic_reset(ioapic);
    *device = ioapic;
    return 0;
}

static void ioapic_state(void *device, vdev_state_fn add, void *context)
{
    const struct ioapic *ioapic = device;
    char name[16], text[32];

    (void)snprintf(text, sizeof(text), "0x%06" PRIx32, ioapic->inputs);
    add(context, "inputs", text);
    (void)snprintf(text, sizeof(text), "%" PRIu64, ioapic->sent);
    add(context, "messages", text);
    for (uint32_t pin = 0; pin < PIN_COUNT; pin++) {
        if (ioapic->entries[pin] == ENTRY_MASKED) {
            continue;
        }
        (void)snprintf(name, sizeof(name), "pin%" PRIu32, pin);
        (void)snprintf(text, sizeof(text), "0x%016" PRIx64, ioapic->entries[pin]);
        add(context, name, text);
    }
}

static const struct vdev_field fields[] = {
    VDEV_NUMBER(1, struct ioapic, select, 0),
    VDEV_NUMBER(2, struct ioapic, id, ID_MASK),
    VDEV_NUMBER(3, struct ioapic, inputs, (UINT32_C(1) << PIN_COUNT) - 1),
    VDEV_NUMBER(4, struct ioapic, edges, (UINT32_C(1) << PIN_COUNT) - 1),
    {0},
};

#define TAG_ENTRIES 5u

static int ioapic_save(void *device)
{
    const struct ioapic *ioapic = device;
    int r = vdev_put_fields(ioapic->host, ioapic->slot, fields, 0, ioapic);

    return r == 0 ? ioapic->host->put(ioapic->slot, TAG_ENTRIES, VDEV_FIELD_BYTES, ioapic->entries,
                                      sizeof(ioapic->entries))
                  : r;
}

static int ioapic_restore(void *device)
{
    struct ioapic *ioapic = device;
    uint64_t entries[PIN_COUNT];
    int r = vdev_get_fields(ioapic->host, ioapic->slot, fields, 0, ioapic);

    ioapic->id &= ID_MASK;
    if (r == 0) {
        r = ioapic->host->get(ioapic->slot, TAG_ENTRIES, VDEV_FIELD_BYTES, entries, sizeof(entries),
                              0);
    }
    for (uint32_t pin = 0; r == 0 && pin < PIN_COUNT; pin++) {
        uint64_t may = ENTRY_WRITABLE | (is_level(entries[pin]) ? ENTRY_REMOTE_IRR : 0);

        ioapic->entries[pin] = entries[pin] & may; /* after the reset none was watched */
        watch(ioapic, ioapic->entries[pin], true);
    }
    return r == -ENOENT ? 0 : r;
}

static const struct vdev_option options[] = {
    {.name = NULL},
};

static const struct vdev_region default_regions[] = {
    {.space = VDEV_SPACE_MEMORY, .start = 0xfec00000, .size = 0x1000},
};

static const struct vdev_ops ops = {
    .size = sizeof(ops),
    .create = ioapic_create,
    .destroy = free,
    .reset = ioapic_reset,
    .read = ioapic_read,
    .write = ioapic_write,
    .state = ioapic_state,
    .save = ioapic_save,
    .restore = ioapic_restore,
    .input = ioapic_input,
    .end_of_interrupt = ioapic_end_of_interrupt,
};

static const struct vdev_module module = {
    .size = sizeof(module),
    .abi = QVM_VDEV_ABI,
    .name = "ioapic",
    .doc = "I/O interrupt controller (82093AA)",
    .options = options,
    .default_regions = default_regions,
    .default_region_count = 1,
    .default_intr = QVM_VDEV_NO_INTR,
    .ops = &ops,
    .is_controller = true,
};

QVM_VDEV_EXPORT(module);
