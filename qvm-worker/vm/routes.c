/* KVM's table of GSIs: the pins of its interrupt controllers or, where those are ours, what has it
 * tell the ends of interrupts; behind them the messages of event descriptors. Each change replaces
 * the table, so it has one owner, and changes are told in batches. */
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "proto/base/err.h"
#include "qvm-worker/vm/private.h"

#define PIC_PINS       8u
#define ISA_LINES      16u
#define CASCADE        2u
#define MESSAGE_TO_ALL 0xfeeff000u /* Intel SDM 3A, 11.11: physical destination 255 */
#define WIDE_TO_ALL    0xffffff00u /* the upper bits of that of x2APICs, with wide ids */
#define MESSAGE_LEVEL  0xc000u     /* level-triggered, asserted */

#define FIXED_MAX (VM_WATCH_LINES + ISA_LINES) /* entries before those of messages */

/* struct kvm_irq_routing with room for what stands before messages. */
union fixed {
    struct kvm_irq_routing table;
    uint8_t
        bytes[sizeof(struct kvm_irq_routing) + FIXED_MAX * sizeof(struct kvm_irq_routing_entry)];
};

static void add_pin(struct kvm_irq_routing *table, uint32_t gsi, uint32_t chip, uint32_t pin)
{
    table->entries[table->nr++] = (struct kvm_irq_routing_entry){
        .gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip = {.irqchip = chip, .pin = pin}};
}

static void add_message(struct kvm_irq_routing *table, uint32_t gsi, uint64_t address,
                        uint32_t data)
{
    struct kvm_irq_routing_entry *entry = &table->entries[table->nr++];

    *entry = (struct kvm_irq_routing_entry){.gsi = gsi, .type = KVM_IRQ_ROUTING_MSI};
    entry->u.msi.address_lo = (uint32_t)address;
    entry->u.msi.address_hi = (uint32_t)(address >> 32);
    entry->u.msi.data = data;
}

/* As a PC is wired: line 0 leads to pin 2 of the IOAPIC, where an 8259 has its cascade. As long as
 * that does not matter, the wires are those that KVM begins with. */
static void add_wires(const struct vm *vm, struct kvm_irq_routing *table)
{
    bool is_pc = vm->chips.uses_line_0 && vm->chips.timer_pin != 0;

    for (uint32_t gsi = 0; gsi < VM_GSI_COUNT; gsi++) {
        if (gsi == CASCADE && is_pc) {
            continue;
        }
        if (gsi < ISA_LINES) {
            add_pin(table, gsi, gsi < PIC_PINS ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
                    gsi % PIC_PINS);
        }
        add_pin(table, gsi, KVM_IRQCHIP_IOAPIC, gsi == 0 && is_pc ? vm->chips.timer_pin : gsi);
    }
}

/* KVM tells the ends of those level-triggered vectors that it finds in the first lines' messages:
 * one message to everybody for each, and one to every x2APIC where ids are wide (otherwise it is to
 * everybody as well). There are no more vectors than pins of an IOAPIC, but for the moment in which
 * one takes the place of another. */
static void add_watches(const struct vm *vm, struct kvm_irq_routing *table)
{
    for (uint32_t i = 0; i < VM_VECTORS && table->nr < VM_WATCH_LINES; i++) {
        if (vm->routes.is_watched[i]) {
            add_message(table, table->nr, MESSAGE_TO_ALL, i | MESSAGE_LEVEL);
            add_message(table, table->nr, (uint64_t)WIDE_TO_ALL << 32 | MESSAGE_TO_ALL,
                        i | MESSAGE_LEVEL);
        }
    }
}

static uint32_t first_gsi(const struct vm *vm)
{
    return vm->chips.are_own ? VM_WATCH_LINES : VM_GSI_COUNT;
}

/* The routes' lock is held, or no vCPU runs. */
static int tell(struct vm *vm)
{
    struct vm_routes *routes = &vm->routes;
    union fixed fixed;
    struct kvm_irq_routing *table = routes->told != NULL ? routes->told : &fixed.table;

    table->nr = 0;
    table->flags = 0;
    if (vm->chips.are_own) {
        add_watches(vm, table);
    } else {
        add_wires(vm, table);
    }
    for (uint32_t i = 0; i < routes->message_count; i++) {
        if (routes->messages[i].is_set && vm_is_message(routes->messages[i].address)) {
            add_message(table, first_gsi(vm) + i, routes->messages[i].address,
                        routes->messages[i].data);
        }
    }
    routes->has_changed = false;
    return ioctl(vm->fd, KVM_SET_GSI_ROUTING, table) == 0 ? 0 : -errno;
}

int vm_routes_wire(struct vm *vm, struct err *err)
{
    int r = tell(vm);

    return r == 0 ? 0 : err_sys(err, r, "KVM does not wire its interrupt controllers");
}

void vm_routes_fini(struct vm *vm)
{
    free(vm->routes.messages);
    free(vm->routes.told);
}

void vm_watch_vector(struct vm *vm, uint8_t vector, bool is_watched)
{
    (void)pthread_mutex_lock(&vm->routes.lock);
    vm->routes.is_watched[vector] = is_watched;
    (void)tell(vm); /* fails without memory alone */
    (void)pthread_mutex_unlock(&vm->routes.lock);
}

int vm_route_add(struct vm *vm)
{
    struct vm_routes *routes = &vm->routes;
    uint32_t count = routes->message_count + 1;
    struct vm_message *messages;
    struct kvm_irq_routing *told;

    if (count > VM_ROUTES_MAX) {
        return -ENOSPC;
    }
    messages = realloc(routes->messages, count * sizeof(*messages));
    routes->messages = messages != NULL ? messages : routes->messages;
    told = realloc(routes->told, sizeof(union fixed) + count * sizeof(told->entries[0]));
    routes->told = told != NULL ? told : routes->told;
    if (messages == NULL || told == NULL) {
        return -ENOMEM;
    }
    messages[count - 1] = (struct vm_message){0};
    routes->message_count = count;
    return (int)count - 1;
}

void vm_route_set(struct vm *vm, uint32_t route, uint64_t address, uint32_t data)
{
    struct vm_message *message = &vm->routes.messages[route];

    (void)pthread_mutex_lock(&vm->routes.lock);
    if (!message->is_set || message->address != address || message->data != data) {
        *message = (struct vm_message){.is_set = true, .address = address, .data = data};
        vm->routes.has_changed = true;
    }
    (void)pthread_mutex_unlock(&vm->routes.lock);
}

void vm_routes_commit(struct vm *vm)
{
    (void)pthread_mutex_lock(&vm->routes.lock);
    if (vm->routes.has_changed) {
        (void)tell(vm); /* fails without memory alone */
    }
    (void)pthread_mutex_unlock(&vm->routes.lock);
}

int vm_route_hear(struct vm *vm, uint32_t route, int fd, bool is_on)
{
    struct kvm_irqfd hear = {.fd = (uint32_t)fd,
                             .gsi = first_gsi(vm) + route,
                             .flags = is_on ? 0 : KVM_IRQFD_FLAG_DEASSIGN};

    return ioctl(vm->fd, KVM_IRQFD, &hear) == 0 ? 0 : -errno;
}

int vm_line_hear(struct vm *vm, uint32_t gsi, int fd, int resample_fd, bool is_on)
{
    struct kvm_irqfd hear = {.fd = (uint32_t)fd,
                             .gsi = gsi,
                             .flags = is_on ? KVM_IRQFD_FLAG_RESAMPLE : KVM_IRQFD_FLAG_DEASSIGN,
                             .resamplefd = is_on ? (uint32_t)resample_fd : 0};

    if (vm->chips.are_own || gsi >= VM_GSI_COUNT) {
        return -EOPNOTSUPP;
    }
    return ioctl(vm->fd, KVM_IRQFD, &hear) == 0 ? 0 : -errno;
}
