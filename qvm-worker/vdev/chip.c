/* Interrupt controllers and the interval timer: KVM's, or vdevs of this process.
 *
 * KVM has an IOAPIC, two 8259 and an 8254 at their usual places, and is quicker. Where the
 * configuration places a controller elsewhere, all controllers are vdevs; those that it does not
 * name are added at their usual places then. A timer that is wired or placed in another way, or
 * stands beside an HPET, is a vdev with either kind of controllers. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/bus/bus.h"
#include "qvm-worker/vdev/private.h"

#define IOAPIC_ADDRESS 0xfec00000u
#define PIC_INPUTS     8u
#define CASCADE        2u    /* the input of the first 8259 that the second hangs on */
#define LEVEL_REGION   1u    /* of an 8259: its edge/level register */
#define LEVEL_PORT     0x4d0 /* and where it is; the second's behind the first's */
#define TIMER_PIN      2u    /* of the IOAPIC, where PCs have line 0 */

static const uint64_t pic_ports[] = {0x20, 0xa0};

static bool is_module(const struct vdev_slot *slot, const char *name)
{
    return strcmp(slot->loaded->name, name) == 0;
}

/* Which 8259 it is, 0 or 1; those behind are counted on. */
static uint32_t pic_index(const struct vdev_slot *slot)
{
    uint32_t index = 0;

    for (uint32_t i = 0; i < slot->host->slot_count && slot->host->slots[i] != slot; i++) {
        index += is_module(slot->host->slots[i], "8259") ? 1 : 0;
    }
    return index;
}

void vdev_host_usual_place(struct vdev_slot *slot)
{
    if (is_module(slot, "8259") && pic_index(slot) == 1) {
        slot->regions[0].start = pic_ports[1];
    }
}

int vdev_host_find_line(const struct vdev_host *host, const struct intr *intr, uint32_t *gsi,
                        uint32_t *count)
{
    const struct vdev_slot *slot = NULL;
    uint32_t first = 0;

    for (uint32_t i = 0; i < host->slot_count && slot == NULL; i++) {
        slot = strcmp(host->slots[i]->name, intr->pic) == 0 ? host->slots[i] : NULL;
    }
    if (slot != NULL && is_module(slot, "8259") && slot->has_name) {
        first = PIC_INPUTS * pic_index(slot);
        *count = PIC_INPUTS;
    } else if (strcmp(intr->pic, "8259") == 0) {
        *count = 2 * PIC_INPUTS;
    } else if (strcmp(intr->pic, "ioapic") == 0 || (slot != NULL && is_module(slot, "ioapic"))) {
        *count = VDEV_HOST_GSI_COUNT;
    } else {
        return -ENOENT;
    }
    if (intr->line >= *count) {
        return -ERANGE;
    }
    *gsi = first + intr->line;
    return 0;
}

/* Whether a line was named as one of the IOAPIC's. */
static bool is_ioapics(const struct vdev_host *host, const struct intr *intr)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        if (is_module(host->slots[i], "ioapic") && strcmp(host->slots[i]->name, intr->pic) == 0) {
            return true;
        }
    }
    return strcmp(intr->pic, "ioapic") == 0;
}

/* On a PC line 0 is pin 2 of the IOAPIC; who names pin 0 gets pin 0. */
static void settle_timer_pin(struct vdev_host *host)
{
    host->chips.timer_pin = TIMER_PIN;
    for (uint32_t i = 0; i < host->slot_count; i++) {
        const struct vdev_slot *slot = host->slots[i];

        for (uint32_t line = 0; line < slot->intr_given; line++) {
            if (slot->intrs[line] == 0 && is_ioapics(host, &slot->intr_names[line])) {
                host->chips.timer_pin = 0;
            }
        }
    }
    for (uint32_t i = 0; i < host->slot_count; i++) {
        for (uint32_t line = 0; line < host->slots[i]->intr_count; line++) {
            uint32_t *gsi = &host->slots[i]->intrs[line];

            if (*gsi == TIMER_PIN && host->chips.timer_pin == TIMER_PIN &&
                !host->slots[i]->loaded->module.is_controller) {
                *gsi = 0;
            }
            host->chips.uses_line_0 |= *gsi == 0;
        }
    }
}

static int count_chips(struct vdev_host *host, struct err *err)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        struct vdev_slot *slot = host->slots[i];
        uint32_t index;

        if (is_module(slot, "ioapic")) {
            if (host->ioapic != NULL) {
                return err_set(err, -EEXIST, "%s: a VM has one ioapic; there is that of %s",
                               slot->where, host->ioapic->where);
            }
            host->ioapic = slot;
            host->chips.ioapic_address = slot->regions[0].start;
            host->chips.are_own |= slot->regions[0].start != IOAPIC_ADDRESS;
        } else if (is_module(slot, "8259")) {
            index = pic_index(slot);
            if (index >= ARRAY_LEN(host->pics)) {
                return err_set(err, -EEXIST, "%s: a VM has two 8259; there are those of %s and %s",
                               slot->where, host->pics[0]->where, host->pics[1]->where);
            }
            host->pics[index] = slot;
            slot->intrs[0] = index == 1 ? CASCADE : QVM_VDEV_NO_INTR;
            host->chips.are_own |= slot->regions[0].start != pic_ports[index];
        }
    }
    return 0;
}

static int add_implied(struct vdev_host *host, const char *module, struct err *err)
{
    int r = vdev_host_load(host, module, "implied", err);

    return r == 0 ? vdev_host_add(host, module, "implied", NULL, 0, err) : r;
}

/* What every PC has, and the configuration does not name. */
static int add_missing(struct vdev_host *host, struct err *err)
{
    int r = host->ioapic == NULL ? add_implied(host, "ioapic", err) : 0;

    if (host->pics[0] == NULL) {
        r = r == 0 ? add_implied(host, "8259", err) : r;
        r = r == 0 ? add_implied(host, "8259", err) : r;
    }
    host->ioapic = NULL; /* counted anew */
    return r == 0 ? count_chips(host, err) : r;
}

/* Whether KVM's timer does: at its usual place and line, and alone. */
static bool is_usual_timer(const struct vdev_host *host, const struct vdev_slot *slot)
{
    const struct vdev_module *module = &slot->loaded->module;
    bool is_usual = slot->intrs[0] == 0;

    for (uint32_t i = 0; i < slot->region_count; i++) {
        is_usual = is_usual && slot->regions[i].start == module->default_regions[i].start &&
                   slot->regions[i].size == module->default_regions[i].size;
    }
    for (uint32_t i = 0; i < host->slot_count; i++) {
        const struct vdev_slot *other = host->slots[i];

        is_usual = is_usual && !is_module(other, "hpet") &&
                   (other == slot || !is_module(other, "timer8254"));
    }
    return is_usual;
}

int vdev_host_settle_chips(struct vdev_host *host, struct err *err)
{
    int r;

    host->chips = (struct vdev_host_chips){.ioapic_address = IOAPIC_ADDRESS};
    r = count_chips(host, err);
    if (r == 0 && host->chips.are_own) {
        r = add_missing(host, err);
    }
    if (r != 0) {
        return r;
    }
    settle_timer_pin(host);
    for (uint32_t i = 0; i < host->slot_count && !host->chips.are_own; i++) {
        struct vdev_slot *slot = host->slots[i];

        slot->is_in_kernel = is_module(slot, "ioapic") || is_module(slot, "8259");
        if (is_module(slot, "timer8254") && is_usual_timer(host, slot)) {
            slot->is_in_kernel = true;
            host->chips.has_kernel_timer = true;
        }
    }
    return 0;
}

void vdev_host_get_chips(const struct vdev_host *host, struct vdev_host_chips *chips)
{
    *chips = host->chips;
    for (uint32_t i = 0; i < host->slot_count && chips->hpet_address == 0; i++) {
        const struct vdev_slot *slot = host->slots[i];

        if (is_module(slot, "hpet") && slot->device != NULL) { /* nobody runs yet */
            chips->hpet_address = slot->regions[0].start;
            chips->hpet_id = (uint32_t)slot->loaded->ops.read(slot->device, 0, 0, 4);
        }
    }
}

int vdev_host_add_level_port(struct vdev_slot *slot, struct err *err)
{
    const struct vdev_host *host = slot->host;

    for (uint32_t i = 0; i < ARRAY_LEN(host->pics); i++) {
        if (host->pics[i] == slot) {
            return bus_add(host->env.bus, BUS_IO, LEVEL_PORT + i, 1, vdev_host_access, slot,
                           LEVEL_REGION, slot->bus_name, err);
        }
    }
    return 0;
}

static void set_input(struct vdev_slot *slot, uint32_t input, bool is_high)
{
    if (slot == NULL || slot->device == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&slot->lock);
    slot->loaded->ops.input(slot->device, input, is_high);
    (void)pthread_mutex_unlock(&slot->lock);
}

void vdev_host_line(struct vdev_host *host, uint32_t gsi, bool is_high)
{
    if (gsi < 2 * PIC_INPUTS && gsi != CASCADE) {
        set_input(host->pics[gsi / PIC_INPUTS], gsi % PIC_INPUTS, is_high);
    }
    if (gsi < VDEV_HOST_GSI_COUNT) {
        set_input(host->ioapic, gsi == 0 ? host->chips.timer_pin : gsi, is_high);
    }
}

static int acknowledge(struct vdev_slot *slot)
{
    int vector = -1;

    if (slot != NULL && slot->device != NULL) {
        (void)pthread_mutex_lock(&slot->lock);
        vector = slot->loaded->ops.acknowledge(slot->device);
        (void)pthread_mutex_unlock(&slot->lock);
    }
    return vector;
}

int vdev_host_acknowledge(struct vdev_host *host)
{
    int vector = acknowledge(host->pics[0]);

    if (vector >= VDEV_CASCADED) {
        vector = vector == VDEV_CASCADED + (int)CASCADE ? acknowledge(host->pics[1]) : -1;
    }
    return vector < VDEV_CASCADED ? vector : -1;
}

void vdev_host_end_of_interrupt(struct vdev_host *host, uint8_t vector)
{
    struct vdev_slot *slot = host->ioapic;

    if (slot != NULL && slot->device != NULL) {
        (void)pthread_mutex_lock(&slot->lock);
        slot->loaded->ops.end_of_interrupt(slot->device, vector);
        (void)pthread_mutex_unlock(&slot->lock);
    }
}

void vdev_host_message(struct vdev_slot *slot, uint64_t address, uint32_t data)
{
    if (slot->host->env.message != NULL) {
        slot->host->env.message(slot->host->env.context, address, data);
    }
}

void vdev_host_cpu_intr(struct vdev_slot *slot, bool is_high)
{
    struct vdev_host *host = slot->host;

    if (slot == host->pics[1]) {
        set_input(host->pics[0], CASCADE, is_high);
    } else if (slot == host->pics[0] && host->env.cpu_intr != NULL) {
        host->env.cpu_intr(host->env.context, is_high);
    }
}

void vdev_host_watch_vector(struct vdev_slot *slot, uint8_t vector, bool is_watched)
{
    if (slot == slot->host->ioapic && slot->host->env.watch_vector != NULL) {
        slot->host->env.watch_vector(slot->host->env.context, vector, is_watched);
    }
}
