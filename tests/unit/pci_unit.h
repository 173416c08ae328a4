/* PCI buses on a bus of their own, whose lines and messages a test sees. */
#ifndef QVM_TESTS_PCI_UNIT_H
#define QVM_TESTS_PCI_UNIT_H

#include <errno.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/bus/bus.h"
#include "qvm-worker/loc.h"
#include "qvm-worker/pci/pci.h"
#include "tests/unit/unit.h"

#define ECAM(devfn, at) (PCI_ECAM_START + ((uint64_t)(devfn) << 12) + (at))
#define DEVFN(d, f)     ((uint32_t)(d) << 3 | (f))

#define ROUTES_MANY 256u
#define ROUTES_MAX  8u

struct seen {
    uint32_t holders[24]; /* of lines */
    uint32_t message_count, reset_count, pam_count;
    uint64_t address;
    uint32_t data;
    uint8_t pam[PCI_PAM_COUNT];
    uint32_t pm_base;
    uint64_t offset, value; /* of the last access to a BAR */
    uint32_t region, size, access_count;
    uint32_t line_heard; /* GSI that an event drives; 0: none */
    uint32_t route_count, route_set_count, commit_count;
    struct {
        uint64_t address;
        uint32_t data;
        int fd; /* that is heard; 0: none */
    } routes[ROUTES_MANY];
    bool has_many_routes; /* otherwise ROUTES_MAX */
};

static struct seen seen __attribute__((unused));
static struct err err __attribute__((unused));
static struct bus *bus __attribute__((unused));
static struct pci *pci __attribute__((unused));
static bool has_own_chips; /* of what is made next */

static void on_line(void *context, uint32_t gsi, bool is_held)
{
    (void)context;
    seen.holders[gsi] += is_held ? 1u : -1u;
}

static void on_message(void *context, uint64_t address, uint32_t data)
{
    (void)context;
    seen.message_count++;
    seen.address = address;
    seen.data = data;
}

static int on_add_route(void *context)
{
    (void)context;
    const uint32_t most = seen.has_many_routes ? ROUTES_MANY : ROUTES_MAX;

    return seen.route_count < most ? (int)seen.route_count++ : -ENOSPC;
}

static void on_set_route(void *context, uint32_t route, uint64_t address, uint32_t data)
{
    (void)context;
    ck_assert_uint_lt(route, seen.route_count);
    seen.routes[route].address = address;
    seen.routes[route].data = data;
    seen.route_set_count++;
}

static void on_commit_routes(void *context)
{
    (void)context;
    seen.commit_count++;
}

static int on_hear(void *context, uint32_t route, int fd, bool is_on)
{
    (void)context;
    ck_assert_uint_lt(route, seen.route_count);
    ck_assert(is_on != (seen.routes[route].fd != 0)); /* not twice */
    seen.routes[route].fd = is_on ? fd : 0;
    return 0;
}

static int on_hear_line(void *context, uint32_t gsi, int fd, int resample_fd, bool is_on)
{
    (void)context;
    ck_assert_int_ge(fd, 0);
    ck_assert_int_ge(resample_fd, 0);
    ck_assert_uint_eq(seen.line_heard, is_on ? 0 : gsi); /* not twice */
    seen.line_heard = is_on ? gsi : 0;
    return 0;
}

static void on_reset(void *context)
{
    (void)context;
    seen.reset_count++;
}

static void on_pam(void *context, const uint8_t registers[PCI_PAM_COUNT])
{
    (void)context;
    seen.pam_count++;
    memcpy(seen.pam, registers, sizeof(seen.pam));
}

static void on_pm_base(void *context, uint16_t base)
{
    (void)context;
    seen.pm_base = base;
}

static void on_bar(void *context, uint32_t region, uint64_t offset, uint32_t size, uint64_t *value,
                   bool is_write)
{
    (void)context;
    seen.access_count++;
    seen.region = region;
    seen.offset = offset;
    seen.size = size;
    seen.value = is_write ? *value : seen.value;
    *value = is_write ? *value : 0xb000 + offset;
}

static const struct pci_function_ops bar_ops __attribute__((unused)) = {.access = on_bar};

/* A bus with RAM at 0-16 MiB, and the PCI buses on it; nothing sealed yet. */
static void make_with(bool has_firmware, bool has_lpc)
{
    static const struct pci_ops ops = {.line = on_line,
                                       .message = on_message,
                                       .reset = on_reset,
                                       .pam = on_pam,
                                       .pm_base = on_pm_base,
                                       .add_route = on_add_route,
                                       .set_route = on_set_route,
                                       .commit_routes = on_commit_routes,
                                       .hear = on_hear,
                                       .hear_line = on_hear_line};
    struct pci_config config = {.ops = &ops,
                                .has_lpc = has_lpc,
                                .has_firmware = has_firmware,
                                .has_own_chips = has_own_chips,
                                .high_start = 0x100000000,
                                .high_end = 0x900000000};

    bus = bus_create();
    config.bus = bus;
    ck_assert_int_eq(bus_add(bus, BUS_MEMORY, 0, 0x1000000, on_bar, NULL, 9, "RAM", &err), 0);
    ck_assert_msg(pci_create(&config, &pci, &err) == 0, "%s", err.msg);
}

static void make(bool has_firmware)
{
    make_with(has_firmware, false);
}

static void done(void)
{
    pci_destroy(pci);
    bus_destroy(bus);
}

static inline struct pci_function *add(uint32_t device, uint32_t function,
                                       const struct pci_function_config *config)
{
    const struct loc_pci loc = {.has_device = true, .device = device, .function = function};
    struct pci_function *new = NULL;

    ck_assert_msg(pci_add(pci, &loc, config, &new, &err) == 0, "%s", err.msg);
    return new;
}

static uint64_t in(enum bus_space space, uint64_t address, uint32_t size)
{
    uint8_t data[8] = {0};
    uint64_t value;

    (void)bus_access(bus, space, address, data, size, false);
    memcpy(&value, data, sizeof(value));
    return value;
}

static void out(enum bus_space space, uint64_t address, uint32_t size, uint64_t value)
{
    uint8_t data[8];

    memcpy(data, &value, sizeof(data));
    (void)bus_access(bus, space, address, data, size, true);
}

static inline uint32_t config_in(uint32_t devfn, uint32_t at, uint32_t size)
{
    return (uint32_t)in(BUS_MEMORY, ECAM(devfn, at), size);
}

static inline void config_out(uint32_t devfn, uint32_t at, uint32_t size, uint32_t value)
{
    out(BUS_MEMORY, ECAM(devfn, at), size, value);
}

/* What a driver does before it expects messages. */
static inline void be_master(uint32_t devfn)
{
    config_out(devfn, PCI_COMMAND, 2, config_in(devfn, PCI_COMMAND, 2) | PCI_COMMAND_MASTER);
}

#endif
