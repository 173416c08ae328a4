/* The PCI buses of a machine. */
#include "qvm-worker/pci/pci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"
#include "qvm-worker/bus/bus.h"
#include "qvm-worker/loc.h"
#include "qvm-worker/pci/msix.h"
#include "qvm-worker/pci/pci_private.h"

#define DEVICE_COUNT   32u
#define FUNCTION_COUNT 8u

int pci_create(const struct pci_config *config, struct pci **pci, struct err *err)
{
    struct pci *new = calloc(1, sizeof(*new));
    int r;

    if (new == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    new->config = *config;
    new->root.pci = new;
    memset(new->pirq_route, PCI_NO_ROUTE, sizeof(new->pirq_route));
    (void)pthread_mutex_init(&new->lock, NULL); /* cannot fail for plain ones */
    (void)pthread_mutex_init(&new->lines_lock, NULL);
    r = pci_add_ports(new, err);
    if (r == 0) {
        r = pci_add_host(new, err);
    }
    if (r == 0 && config->has_lpc) {
        r = pci_add_lpc(new, err);
    }
    if (r != 0) {
        pci_destroy(new);
        return r;
    }
    *pci = new;
    return 0;
}

void pci_destroy(struct pci *pci)
{
    struct pci_walk walk = {0};
    struct pci_function *function;

    if (pci == NULL) {
        return;
    }
    while ((function = pci_next(pci, &walk)) != NULL) {
        pci_function_fini(function);
        free(function);
    }
    for (uint32_t i = 0; i < pci->behind_count; i++) {
        free(pci->behind[i]);
    }
    (void)pthread_mutex_destroy(&pci->lines_lock); /* nobody holds them */
    (void)pthread_mutex_destroy(&pci->lock);
    free(pci);
}

int pci_blame(const struct pci_function *function, int code, struct err *err)
{
    if (function->where != NULL) {
        (void)err_prefix(err, "%s: ", function->where);
    }
    return code;
}

static const char *holder(const struct pci_bus *bus, uint32_t devfn)
{
    return bus->functions[devfn] != NULL ? bus->functions[devfn]->name : bus->reserved[devfn];
}

int pci_reserve(struct pci *pci, const struct loc_pci *loc, const char *owner, struct err *err)
{
    uint32_t devfn = PCI_DEVFN(loc->device, loc->function);
    struct pci_bus *bus;
    int r = pci_bus_get(pci, loc->bus, &bus, err);

    if (r == 0 && holder(bus, devfn) != NULL) {
        r = err_set(err, -EEXIST, "pci:%u:%u.%u belongs to %s", loc->bus, loc->device,
                    loc->function, holder(bus, devfn));
    }
    if (r == 0) {
        bus->reserved[devfn] = owner;
    }
    return r;
}

int pci_avoid(struct pci *pci, const struct loc *loc)
{
    if (loc->kind == LOC_PCI) {
        if (loc->pci.has_device && loc->pci.bus == 0) {
            pci->root.is_avoided[PCI_DEVFN(loc->pci.device, loc->pci.function)] = true;
        }
        return 0;
    }
    if (pci->avoided_count == PCI_AVOIDED_MAX) {
        return -ENOSPC;
    }
    pci->avoided[pci->avoided_count].space = loc->kind == LOC_IO ? BUS_IO : BUS_MEMORY;
    pci->avoided[pci->avoided_count].start = loc->start;
    pci->avoided[pci->avoided_count++].size = loc->size;
    return 0;
}

bool pci_is_free_device(const struct pci_bus *bus, uint32_t device)
{
    for (uint32_t f = 0; f < FUNCTION_COUNT; f++) {
        uint32_t devfn = PCI_DEVFN(device, f);

        if (holder(bus, devfn) != NULL || bus->is_avoided[devfn]) {
            return false;
        }
    }
    return true;
}

static int find_place(struct pci *pci, const struct loc_pci *loc, struct pci_bus **bus,
                      uint32_t *devfn, struct err *err)
{
    int r;

    if (loc != NULL && loc->has_device) {
        *devfn = PCI_DEVFN(loc->device, loc->function);
        r = pci_bus_get(pci, loc->bus, bus, err);
        if (r == 0 && (*bus)->functions[*devfn] != NULL) {
            r = err_set(err, -EEXIST, "pci:%u:%u.%u belongs to %s", loc->bus, loc->device,
                        loc->function, (*bus)->functions[*devfn]->name);
        }
        return r == 0 ? pci_bus_connect(*bus, err) : r;
    }
    *bus = &pci->root;
    for (uint32_t device = 0; device < DEVICE_COUNT; device++) {
        if (pci_is_free_device(*bus, device)) {
            *devfn = PCI_DEVFN(device, 0);
            return 0;
        }
    }
    return err_set(err, -ENOSPC, "all %u devices of the PCI bus are taken", DEVICE_COUNT);
}

int pci_add(struct pci *pci, const struct loc_pci *loc, const struct pci_function_config *config,
            struct pci_function **function, struct err *err)
{
    struct pci_function *new;
    struct pci_bus *bus = NULL;
    uint32_t devfn = 0;
    int r = pci_function_check(config, err);

    if (r == 0) {
        r = find_place(pci, loc, &bus, &devfn, err);
    }
    if (r != 0) {
        return r;
    }
    new = calloc(1, sizeof(*new));
    if (new == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    r = pci_function_init(new, pci, config, err);
    if (r != 0) {
        pci_function_fini(new);
        free(new);
        return r;
    }
    new->parent = bus;
    new->bus = (uint8_t)bus->number;
    new->devfn = (uint8_t)devfn;
    bus->functions[devfn] = new;
    *function = new;
    return 0;
}

/* 6.2.1: bit 7 of function 0's header type says that there are more. */
static int join_functions(const struct pci_bus *bus, uint32_t device, struct err *err)
{
    struct pci_function *first = bus->functions[PCI_DEVFN(device, 0)];

    for (uint32_t f = 1; f < FUNCTION_COUNT; f++) {
        const struct pci_function *other = bus->functions[PCI_DEVFN(device, f)];

        if (other != NULL && first == NULL) {
            int code =
                err_set(err, -EINVAL,
                        "%s is function %u of PCI device %u:%u, which has no function 0: a guest "
                        "would not find it",
                        other->name, f, bus->number, device);

            return pci_blame(other, code, err);
        }
        if (other != NULL) {
            uint32_t type = pci_space_get(&first->space, PCI_HEADER_TYPE, 1);

            pci_space_set(&first->space, PCI_HEADER_TYPE, type | PCI_HEADER_MULTI, 1);
        }
    }
    return 0;
}

int pci_seal(struct pci *pci, struct err *err)
{
    const struct pci_bus *bus;
    int r = 0;

    for (uint32_t i = 0; r == 0 && (bus = pci_bus_at(pci, i)) != NULL; i++) {
        for (uint32_t device = 0; r == 0 && device < DEVICE_COUNT; device++) {
            r = join_functions(bus, device, err);
        }
    }
    if (r == 0 && !pci->config.has_firmware) {
        r = pci_assign(pci, err);
    }
    if (r == 0) {
        pci_reset(pci);
    }
    return r;
}

/* All first leave their places, so that none is in the way of another. */
void pci_reset(struct pci *pci)
{
    struct pci_walk gone = {0}, walk = {0};
    struct pci_function *function;

    (void)pthread_mutex_lock(&pci->lock);
    pci->is_resetting = true;
    atomic_store(&pci->address, 0);
    pci_place_ecam(pci, 0, 0);
    while ((function = pci_next(pci, &gone)) != NULL) {
        pci_function_withdraw(function, pci->config.bus);
    }
    while ((function = pci_next(pci, &walk)) != NULL) {
        pci_function_reset(function);
    }
    pci->is_resetting = false;
    pci_settle(pci);
    (void)pthread_mutex_unlock(&pci->lock);
}

/* Who leaves makes room for who waited: again until nobody leaves, which is in the second turn. */
void pci_settle(struct pci *pci)
{
    bool has_left = true;

    while (has_left) {
        struct pci_walk walk = {0};
        struct pci_function *function;

        has_left = pci_try_ecam(pci);
        while ((function = pci_next(pci, &walk)) != NULL) {
            has_left = pci_function_place(function, pci->config.bus) || has_left;
        }
    }
}

void pci_place(struct pci_function *function)
{
    struct pci *pci = function->pci;

    if (pci_function_place(function, pci->config.bus)) {
        pci_settle(pci);
    }
}

static uint32_t access_extended(const struct pci_function *function, uint32_t at, uint32_t size,
                                uint32_t value, bool is_write)
{
    if (function->ops->extended_read == NULL) {
        return is_write ? value : 0;
    }
    if (is_write) {
        function->ops->extended_write(function->context, at, size, value);
        return value;
    }
    return function->ops->extended_read(function->context, at, size);
}

static uint32_t access_function(struct pci_function *function, uint32_t at, uint32_t size,
                                uint32_t value, bool is_write)
{
    if (function == NULL) {
        return UINT32_MAX; /* 3.2.2.3.5: nobody claims it */
    }
    if (at >= PCI_SPACE_SIZE) {
        return access_extended(function, at, size, value, is_write);
    }
    if (is_write) {
        pci_function_write(function, at, size, value);
        return value;
    }
    return pci_function_read(function, at, size);
}

uint32_t pci_config_access(struct pci *pci, uint32_t number, uint32_t devfn, uint32_t at,
                           uint32_t size, uint32_t value, bool is_write)
{
    const struct pci_bus *bus;

    (void)pthread_mutex_lock(&pci->lock);
    bus = pci_bus_answering(pci, number);
    value = access_function(bus != NULL ? bus->functions[devfn] : NULL, at, size, value, is_write);
    (void)pthread_mutex_unlock(&pci->lock);
    return value;
}

bool pci_message(struct pci_function *function, uint32_t vector)
{
    return pci_messages_send(&function->msix, vector) || pci_messages_send(&function->msi, vector);
}

void pci_vectors(struct pci_function *function, uint64_t offset, uint32_t size, uint64_t *value,
                 bool is_write)
{
    pci_msix_table(&function->msix, offset, size, value, is_write);
}

void pci_vectors_pending(struct pci_function *function, uint64_t offset, uint32_t size,
                         uint64_t *value, bool is_write)
{
    pci_msix_pending(&function->msix, offset, size, value, is_write);
}

bool pci_has_messages(struct pci_function *function)
{
    return pci_messages_are_enabled(&function->msix) || pci_messages_are_enabled(&function->msi);
}

bool pci_ecam(const struct pci *pci, uint64_t *start, uint64_t *size)
{
    *start = pci->ecam.start;
    *size = pci->ecam.size;
    return pci->ecam.is_there;
}

uint32_t pci_low_windows(const struct pci *pci, uint64_t starts[2], uint64_t ends[2])
{
    uint64_t end = pci->config.has_firmware ? PCI_FIRMWARE_END : PCI_MEMORY_END;
    uint64_t ecam_end = pci->ecam.start + pci->ecam.size;
    bool is_cut = pci->ecam.is_there && pci->ecam.start < end && ecam_end > PCI_MEMORY_START;
    uint32_t count = 0;

    starts[0] = PCI_MEMORY_START;
    ends[0] = is_cut ? pci->ecam.start : end;
    count = starts[0] < ends[0] ? 1 : 0;
    if (is_cut && ecam_end < end) {
        starts[count] = ecam_end;
        ends[count++] = end;
    }
    return count;
}

void pci_high_window(const struct pci *pci, uint64_t *start, uint64_t *end)
{
    *start = pci->config.high_start;
    *end = pci->config.high_end;
}

const struct pci_function *pci_function_at(struct pci *pci, uint32_t i)
{
    struct pci_walk walk = {0};
    const struct pci_function *function = pci_next(pci, &walk);

    for (; i > 0 && function != NULL; i--) {
        function = pci_next(pci, &walk);
    }
    return function;
}
