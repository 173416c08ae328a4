/* One interrupt controller of PCs: an Intel 8259A. A PC has two: the first is the master, the
 * second hangs on its input 2.
 *
 * "Data sheet" is Intel's 8259A Programmable Interrupt Controller, order number 231468-003,
 * December 1988; headings are quoted. Which inputs are triggered by level is told by the edge/level
 * register of Intel's 82371AB (PIIX4), order number 290562-001, section 4.2.3, or by ICW1 for all.
 *
 * An edge stays latched when its input falls before it is acknowledged, where the data sheet would
 * give a default interrupt: lines that are pulsed would be lost otherwise. The modes for MCS-80/85
 * and buffers have no meaning on a PC. */
#include <stdio.h>
#include <stdlib.h>

#include <qvm/vdev.h>
#include <qvm/vdev_fields.h>

#define COMMAND_PORT 0u
#define DATA_PORT    1u
#define LEVEL_REGION 1u /* the edge/level register, which the qvm puts at its usual port */

#define INPUT_COUNT 8u
#define CASCADE     2u /* the input of the master that the slave hangs on */
#define SPURIOUS    7u /* "if no interrupt request is present ... the 8259A will issue level 7" */

/* "Initialization Command Words" */
#define ICW1_INIT   0x10u
#define ICW1_LEVEL  0x08u
#define ICW1_SINGLE 0x02u
#define ICW1_ICW4   0x01u
#define ICW2_BASE   0xf8u
#define ICW4_AEOI   0x02u
#define ICW4_SFNM   0x10u

/* "Operation Command Words" */
#define OCW3            0x08u
#define OCW3_READ       0x02u /* the register named by the next bit */
#define OCW3_READ_ISR   0x01u
#define OCW3_POLL       0x04u
#define OCW3_SMM_ENABLE 0x40u
#define OCW3_SMM        0x20u
#define OCW2_LEVEL      0x07u
#define OCW2_COMMAND(v) ((v) >> 5)
#define POLL_INTERRUPT  0x80u

enum ocw2 {
    OCW2_ROTATE_AEOI_CLEAR = 0,
    OCW2_EOI = 1,
    OCW2_NOTHING = 2,
    OCW2_EOI_SPECIFIC = 3,
    OCW2_ROTATE_AEOI_SET = 4,
    OCW2_EOI_ROTATE = 5,
    OCW2_SET_PRIORITY = 6,
    OCW2_EOI_SPECIFIC_ROTATE = 7,
};

enum init { INIT_DONE, INIT_ICW2, INIT_ICW3, INIT_ICW4 };

struct pic {
    const struct vdev_services *host;
    struct vdev_slot *slot;
    bool is_master;
    uint8_t inputs;        /* levels */
    uint8_t irr, isr, imr; /* "Interrupt Request", "In-Service", "Interrupt Mask Register" */
    uint8_t level_mask;    /* inputs triggered by level, of the edge/level register */
    uint8_t icw1, base, icw3, icw4;
    uint8_t lowest; /* input of the lowest priority */
    enum init init;
    bool reads_isr, polls, is_special_mask, rotates_aeoi;
};

static uint8_t bit(uint32_t input)
{
    return (uint8_t)(1u << input);
}

static bool is_level(const struct pic *pic, uint32_t input)
{
    return (pic->icw1 & ICW1_LEVEL) != 0 || (pic->level_mask & bit(input)) != 0;
}

/* The place of the highest of `set` in the order of priority, 0 first; INPUT_COUNT: none. */
static uint32_t highest(const struct pic *pic, uint8_t set)
{
    uint32_t place = 0;

    while (place < INPUT_COUNT && (set & bit((pic->lowest + 1 + place) % INPUT_COUNT)) == 0) {
        place++;
    }
    return place;
}

/* The input whose interrupt is due, or INPUT_COUNT. */
static uint32_t due_input(const struct pic *pic)
{
    uint32_t request = highest(pic, pic->irr & (uint8_t)~pic->imr);
    uint8_t service = pic->isr;

    if (pic->is_special_mask) { /* "Special Mask Mode": what is masked inhibits nothing */
        service &= (uint8_t)~pic->imr;
    }
    if ((pic->icw4 & ICW4_SFNM) != 0 && pic->is_master) {
        service &= (uint8_t)~pic->icw3; /* "The Special Fully Nested Mode": a slave may go on */
    }
    return request < highest(pic, service) ? (pic->lowest + 1 + request) % INPUT_COUNT
                                           : INPUT_COUNT;
}

static void update(struct pic *pic)
{
    pic->host->cpu_intr(pic->slot, due_input(pic) != INPUT_COUNT);
}

static void pic_input(void *device, uint32_t input, bool is_high)
{
    struct pic *pic = device;
    bool was_high = (pic->inputs & bit(input % INPUT_COUNT)) != 0;

    input %= INPUT_COUNT;
    if (is_high) {
        pic->inputs |= bit(input);
        pic->irr |= is_level(pic, input) || !was_high ? bit(input) : 0;
    } else {
        pic->inputs &= (uint8_t)~bit(input);
        pic->irr &= (uint8_t)(is_level(pic, input) ? ~bit(input) : 0xff);
    }
    update(pic);
}

/* The first INTA, or a poll: the request is in service now. */
static void take(struct pic *pic, uint32_t input)
{
    if (!is_level(pic, input)) {
        pic->irr &= (uint8_t)~bit(input);
    }
    if ((pic->icw4 & ICW4_AEOI) == 0) {
        pic->isr |= bit(input);
    } else if (pic->rotates_aeoi) {
        pic->lowest = (uint8_t)input;
    }
}

static int pic_acknowledge(void *device)
{
    struct pic *pic = device;
    uint32_t input = due_input(pic);

    if (input == INPUT_COUNT) {
        input = SPURIOUS; /* "IR7 ... does not set the corresponding ISR bit" */
    } else {
        take(pic, input);
    }
    update(pic);
    if (pic->is_master && (pic->icw1 & ICW1_SINGLE) == 0 && (pic->icw3 & bit(input)) != 0) {
        return VDEV_CASCADED + (int)input;
    }
    return pic->base + (int)input;
}

static void end_highest(struct pic *pic, bool rotates)
{
    uint8_t service = pic->isr;
    uint32_t place;

    if (pic->is_special_mask) {
        service &=
            (uint8_t)~pic->imr; /* a masked one "will not be cleared by a non-specific EOI" */
    }
    place = highest(pic, service);
    if (place < INPUT_COUNT) {
        uint32_t input = (pic->lowest + 1 + place) % INPUT_COUNT;

        pic->isr &= (uint8_t)~bit(input);
        pic->lowest = rotates ? (uint8_t)input : pic->lowest;
    }
}

static void write_ocw2(struct pic *pic, uint8_t value)
{
    uint8_t level = value & OCW2_LEVEL;

    switch ((enum ocw2)OCW2_COMMAND(value)) {
    case OCW2_ROTATE_AEOI_CLEAR:
    case OCW2_ROTATE_AEOI_SET:
        pic->rotates_aeoi = OCW2_COMMAND(value) == OCW2_ROTATE_AEOI_SET;
        break;
    case OCW2_EOI:
    case OCW2_EOI_ROTATE:
        end_highest(pic, OCW2_COMMAND(value) == OCW2_EOI_ROTATE);
        break;
    case OCW2_EOI_SPECIFIC_ROTATE:
        pic->isr &= (uint8_t)~bit(level);
        pic->lowest = level;
        break;
    case OCW2_EOI_SPECIFIC:
        pic->isr &= (uint8_t)~bit(level);
        break;
    case OCW2_SET_PRIORITY:
        pic->lowest = level;
        break;
    case OCW2_NOTHING:
        break;
    }
}

static void write_ocw3(struct pic *pic, uint8_t value)
{
    pic->polls = (value & OCW3_POLL) != 0;
    if ((value & OCW3_READ) != 0) {
        pic->reads_isr = (value & OCW3_READ_ISR) != 0;
    }
    if ((value & OCW3_SMM_ENABLE) != 0) {
        pic->is_special_mask = (value & OCW3_SMM) != 0;
    }
}

/* "Initialization Command Words 1 and 2": what ICW1 does by itself. */
static void write_icw1(struct pic *pic, uint8_t value)
{
    pic->icw1 = value;
    pic->icw3 = 0;
    pic->icw4 = 0;
    pic->imr = 0;
    pic->isr = 0;
    pic->irr = 0; /* "the edge sense circuit is reset" */
    pic->lowest = INPUT_COUNT - 1;
    pic->is_special_mask = false;
    pic->reads_isr = false;
    pic->polls = false;
    pic->rotates_aeoi = false;
    pic->init = INIT_ICW2;
    for (uint32_t i = 0; i < INPUT_COUNT; i++) {
        pic->irr |= is_level(pic, i) ? pic->inputs & bit(i) : 0;
    }
}

static void write_command(struct pic *pic, uint8_t value)
{
    if ((value & ICW1_INIT) != 0) {
        write_icw1(pic, value);
    } else if ((value & OCW3) != 0) {
        write_ocw3(pic, value);
    } else {
        write_ocw2(pic, value);
    }
}

static void write_data(struct pic *pic, uint8_t value)
{
    bool wants_icw4 = (pic->icw1 & ICW1_ICW4) != 0;

    switch (pic->init) {
    case INIT_DONE:
        pic->imr = value;
        break;
    case INIT_ICW2:
        pic->base = value & ICW2_BASE;
        pic->init = (pic->icw1 & ICW1_SINGLE) == 0 ? INIT_ICW3 : wants_icw4 ? INIT_ICW4 : INIT_DONE;
        break;
    case INIT_ICW3:
        pic->icw3 = value;
        pic->init = wants_icw4 ? INIT_ICW4 : INIT_DONE;
        break;
    case INIT_ICW4:
        pic->icw4 = value;
        pic->init = INIT_DONE;
        break;
    }
}

static uint8_t read_byte(struct pic *pic, uint32_t region, uint64_t port)
{
    uint32_t input;

    if (region == LEVEL_REGION) {
        return pic->level_mask;
    }
    if (pic->polls) { /* "Poll Command": the next read is an acknowledge */
        pic->polls = false;
        input = due_input(pic);
        if (input == INPUT_COUNT) {
            return SPURIOUS;
        }
        take(pic, input);
        update(pic);
        return (uint8_t)(POLL_INTERRUPT | input);
    }
    if (port == DATA_PORT) {
        return pic->imr;
    }
    return pic->reads_isr ? pic->isr : pic->irr;
}

static uint64_t pic_read(void *device, uint32_t region, uint64_t offset, uint32_t size)
{
    uint64_t value = 0;

    for (uint32_t i = 0; i < size; i++) {
        value |= (uint64_t)read_byte(device, region, offset + i) << (8 * i);
    }
    return value;
}

static void pic_write(void *device, uint32_t region, uint64_t offset, uint32_t size, uint64_t value)
{
    struct pic *pic = device;

    for (uint32_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)(value >> (8 * i));

        if (region == LEVEL_REGION) {
            /* PIIX4 4.2.3: timer, keyboard, cascade, clock and coprocessor are triggered by edges.
             */
            pic->level_mask = byte & (pic->is_master ? 0xf8 : 0xde);
        } else if (offset + i == COMMAND_PORT) {
            write_command(pic, byte);
        } else {
            write_data(pic, byte);
        }
    }
    update(pic);
}

/* The chip is set up by ICW1 alone and has no reset pin; the levels of the inputs stay. */
static void pic_reset(void *device)
{
    struct pic *pic = device;
    const struct pic kept = *pic;

    *pic = (struct pic){.host = kept.host,
                        .slot = kept.slot,
                        .is_master = kept.is_master,
                        .inputs = kept.inputs,
                        .lowest = INPUT_COUNT - 1};
    update(pic);
}

static int pic_create(const struct vdev_services *host, struct vdev_slot *slot,
                      const struct vdev_config *config, void **device)
{
    struct pic *pic;

    if (config->regions[0].size != 2) {
        return host->fail(slot, NULL, "an 8259 has 2 ports, 'loc' gives %llu",
                          (unsigned long long)config->regions[0].size);
    }
    pic = calloc(1, sizeof(*pic));
    if (pic == NULL) {
        return host->fail(slot, NULL, "no memory");
    }
    pic->host = host;
    pic->slot = slot;
    pic->is_master = config->intrs[0] == QVM_VDEV_NO_INTR; /* the slave hangs on an input */
    pic_reset(pic);
    *device = pic;
    return 0;
}

static void pic_state(void *device, vdev_state_fn add, void *context)
{
    const struct pic *pic = device;
    char text[96];

    add(context, "role", pic->is_master ? "master" : "slave");
    (void)snprintf(text, sizeof(text), "irr=%02x isr=%02x imr=%02x inputs=%02x level=%02x",
                   pic->irr, pic->isr, pic->imr, pic->inputs, pic->level_mask);
    add(context, "registers", text);
    (void)snprintf(text, sizeof(text), "icw1=%02x icw2=%02x icw3=%02x icw4=%02x%s", pic->icw1,
                   pic->base, pic->icw3, pic->icw4, pic->init != INIT_DONE ? " not finished" : "");
    add(context, "set-up", text);
}

static const struct vdev_field fields[] = {
    VDEV_NUMBER(1, struct pic, inputs, 0),
    VDEV_NUMBER(2, struct pic, irr, 0),
    VDEV_NUMBER(3, struct pic, isr, 0),
    VDEV_NUMBER(4, struct pic, imr, 0),
    VDEV_NUMBER(5, struct pic, level_mask, 0),
    VDEV_NUMBER(6, struct pic, icw1, 0),
    VDEV_NUMBER(7, struct pic, base, 0),
    VDEV_NUMBER(8, struct pic, icw3, 0),
    VDEV_NUMBER(9, struct pic, icw4, 0),
    VDEV_NUMBER(10, struct pic, lowest, INPUT_COUNT - 1),
    VDEV_NUMBER(11, struct pic, init, INIT_ICW4),
    VDEV_NUMBER(12, struct pic, reads_isr, 1),
    VDEV_NUMBER(13, struct pic, polls, 1),
    VDEV_NUMBER(14, struct pic, is_special_mask, 1),
    VDEV_NUMBER(15, struct pic, rotates_aeoi, 1),
    {0},
};

static int pic_save(void *device)
{
    const struct pic *pic = device;

    return vdev_put_fields(pic->host, pic->slot, fields, 0, pic);
}

static int pic_restore(void *device)
{
    struct pic *pic = device;
    int r = vdev_get_fields(pic->host, pic->slot, fields, 0, pic);

    if (r == 0) {
        pic->base &= ICW2_BASE;
        update(pic);
    }
    return r;
}

static const struct vdev_option options[] = {
    {.name = NULL},
};

static const struct vdev_region default_regions[] = {
    {.space = VDEV_SPACE_IO, .start = 0x20, .size = 2},
};

static const struct vdev_ops ops = {
    .size = sizeof(ops),
    .create = pic_create,
    .destroy = free,
    .reset = pic_reset,
    .read = pic_read,
    .write = pic_write,
    .state = pic_state,
    .save = pic_save,
    .restore = pic_restore,
    .input = pic_input,
    .acknowledge = pic_acknowledge,
};

static const struct vdev_module module = {
    .size = sizeof(module),
    .abi = QVM_VDEV_ABI,
    .name = "8259",
    .doc = "interrupt controller (8259A)",
    .options = options,
    .default_regions = default_regions,
    .default_region_count = 1,
    .default_intr = QVM_VDEV_NO_INTR,
    .ops = &ops,
    .is_controller = true,
};

QVM_VDEV_EXPORT(module);
