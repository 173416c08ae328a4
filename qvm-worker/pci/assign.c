/* Places for BARs where no firmware gives them: the largest first, each at a multiple of its size,
 * those of equal size in the order of the bus. So the same configuration gives the same places. */
#include <errno.h>

#include "proto/base/err.h"
#include "qvm-worker/bus/bus.h"
#include "qvm-worker/pci/pci_private.h"

/* A 64-bit BAR up to this size goes below 4 GiB, where every guest reaches it. */
#define LOW_SIZE_MAX (16ull << 20)

struct range {
    uint64_t next, end;
};

/* By enum pci_window. */
struct windows {
    struct range ranges[PCI_WINDOWS];
};

/* What wants a place. */
struct want {
    enum bus_space space;
    uint64_t size, align;
};

/* The window of a bridge above 4 GiB is for what is prefetchable alone: PCI-to-PCI Bridge
 * Architecture Specification 1.2, 3.2.5.9. */
static enum pci_window window_of(const struct pci_bus *bus, const struct pci_bar *bar)
{
    if (bar->space == BUS_IO) {
        return PCI_WINDOW_PORTS;
    }
    return bar->is_64bit && bar->size > LOW_SIZE_MAX && (bus->number == 0 || bar->is_prefetchable)
               ? PCI_WINDOW_HIGH
               : PCI_WINDOW_LOW;
}

/* Whether the configuration keeps a part of it free; *next is behind that. */
static bool is_avoided(const struct pci *pci, const struct want *want, uint64_t at, uint64_t *next)
{
    for (uint32_t i = 0; i < pci->avoided_count; i++) {
        uint64_t start = pci->avoided[i].start, end = start + pci->avoided[i].size;

        if (pci->avoided[i].space == want->space && at < end && at + want->size > start) {
            *next = end;
            return true;
        }
    }
    return false;
}

/* The first free place in the range: devices may sit there that are not on PCI. 0: none. */
static uint64_t find_place(const struct pci *pci, const struct range *range,
                           const struct want *want)
{
    uint64_t at = range->next;

    for (;;) {
        uint64_t next = 0;

        at = (at + want->align - 1) & ~(want->align - 1);
        if (at < range->next || at >= range->end || range->end - at < want->size) {
            return 0;
        }
        if (!is_avoided(pci, want, at, &next) &&
            bus_is_free(pci->config.bus, want->space, at, want->size, &next)) {
            return at;
        }
        at = next;
    }
}

/* The largest BAR that comes after (`size`, `devfn`, `bar`); false: none. */
struct cursor {
    uint64_t size;
    uint32_t devfn, bar;
};

static bool is_after(const struct cursor *a, const struct cursor *b)
{
    if (a->size != b->size) {
        return a->size < b->size;
    }
    return a->devfn != b->devfn ? a->devfn > b->devfn : a->bar > b->bar;
}

static bool find_next(const struct pci_bus *bus, struct cursor *cursor)
{
    struct cursor best = {0};

    for (uint32_t devfn = 0; devfn < PCI_DEVFNS; devfn++) {
        const struct pci_function *function = bus->functions[devfn];

        for (uint32_t i = 0; function != NULL && i < PCI_BARS_AND_ROM; i++) {
            const struct cursor here = {function->bars[i].size, devfn, i};

            if (here.size != 0 && is_after(&here, cursor) &&
                (best.size == 0 || is_after(&best, &here))) {
                best = here;
            }
        }
    }
    *cursor = best;
    return best.size != 0;
}

/* All BARs of one bus. */
static int place_bars(struct pci_bus *bus, struct windows *windows, struct err *err)
{
    struct cursor cursor = {.size = UINT64_MAX};

    while (find_next(bus, &cursor)) {
        struct pci_function *function = bus->functions[cursor.devfn];
        const struct pci_bar *bar = &function->bars[cursor.bar];
        const struct want want = {bar->space, bar->size, bar->size};
        struct range *range = &windows->ranges[window_of(bus, bar)];
        uint64_t at = find_place(bus->pci, range, &want);

        if (at == 0) {
            int code = err_set(err, -ENOSPC, "%s: no room is left for its BAR %u of 0x%llx bytes",
                               function->name, cursor.bar, (unsigned long long)bar->size);

            return pci_blame(function, code, err);
        }
        pci_function_assign(function, cursor.bar, at);
        range->next = at + bar->size;
    }
    return 0;
}

/* What the BARs of a bus want of one of its bridge's windows: side by side, the largest first, they
 * leave no gap. Returns the function with the largest; NULL: they want nothing. */
static const struct pci_function *add_up(const struct pci_bus *bus, enum pci_window window,
                                         struct want *want)
{
    struct cursor cursor = {.size = UINT64_MAX};
    const struct pci_function *first = NULL;

    *want = (struct want){.space = window == PCI_WINDOW_PORTS ? BUS_IO : BUS_MEMORY,
                          .align = window == PCI_WINDOW_PORTS ? PCI_PORTS_UNIT : PCI_MEMORY_UNIT};
    while (find_next(bus, &cursor)) {
        const struct pci_function *function = bus->functions[cursor.devfn];

        if (window_of(bus, &function->bars[cursor.bar]) == window) {
            want->align = cursor.size > want->align ? cursor.size : want->align;
            want->size += cursor.size;
            first = first != NULL ? first : function;
        }
    }
    return first;
}

/* Windows of a bus behind a bridge, and what is in them. */
static int place_behind(struct pci_bus *bus, struct windows *outer, struct err *err)
{
    struct windows inner;

    for (enum pci_window window = 0; window < PCI_WINDOWS; window++) {
        struct range *range = &outer->ranges[window];
        struct want want;
        const struct pci_function *first = add_up(bus, window, &want);
        uint64_t unit = window == PCI_WINDOW_PORTS ? PCI_PORTS_UNIT : PCI_MEMORY_UNIT, at = 0;

        want.size = (want.size + unit - 1) / unit * unit;
        at = first != NULL ? find_place(bus->pci, range, &want) : 0;
        if (first != NULL && at == 0) {
            int code = err_set(err, -ENOSPC, "%s: no room is left for 0x%llx bytes behind %s",
                               first->name, (unsigned long long)want.size, bus->name);

            return pci_blame(first, code, err);
        }
        pci_bus_open(bus, window, at, want.size);
        inner.ranges[window] = (struct range){at, at + want.size};
        range->next = first != NULL ? at + want.size : range->next;
    }
    return place_bars(bus, &inner, err);
}

int pci_assign(struct pci *pci, struct err *err)
{
    struct windows windows = {
        .ranges = {[PCI_WINDOW_PORTS] = {PCI_PORTS_START, PCI_PORTS_END},
                   [PCI_WINDOW_LOW] = {PCI_MEMORY_START, PCI_MEMORY_END},
                   [PCI_WINDOW_HIGH] = {pci->config.high_start, pci->config.high_end}}};
    struct pci_walk walk = {0};
    struct pci_function *function;
    int r = place_bars(&pci->root, &windows, err);

    for (uint32_t i = 0; r == 0 && i < pci->behind_count; i++) {
        r = pci->behind[i]->bridge != NULL ? place_behind(pci->behind[i], &windows, err) : 0;
    }
    while (r == 0 && (function = pci_next(pci, &walk)) != NULL) {
        uint32_t device, pin;

        pci_root_pin(function, &device, &pin);
        if (function->has_intx) {
            pci_space_set(&function->space, PCI_INTERRUPT_LINE,
                          PCI_GSI_BASE + pci_pirq(device, pin), 1);
        }
    }
    return r;
}
