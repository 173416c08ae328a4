/* The arguments of `loc` and `intr`. */
#include "qvm-worker/loc.h"

#include <errno.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/conf/value.h"

#define IO_PORTS 0x10000u

/* Is `text` PREFIX and more? Returns the rest, or NULL. */
static const char *after(const char *text, const char *prefix)
{
    size_t size = strlen(prefix);

    return strncmp(text, prefix, size) == 0 ? text + size : NULL;
}

static int refuse(const char *text, struct err *err)
{
    return err_set(err, -EINVAL,
                   "loc '%s' is not io:PORT[,LEN], mem:ADDRESS[,LEN] or "
                   "pci:[[BUS:]DEVICE[.FUNCTION]]",
                   text);
}

static int parse_range(const char *text, const char *range, struct loc *loc, struct err *err)
{
    const char *comma = strchrnul(range, ',');
    uint64_t end;

    loc->has_size = *comma == ',';
    if (conf_parse_number(range, (size_t)(comma - range), CONF_HEX, &loc->start) != 0 ||
        (loc->has_size &&
         conf_parse_number(comma + 1, strlen(comma + 1), CONF_DECIMAL, &loc->size) != 0)) {
        return refuse(text, err);
    }
    if ((loc->has_size && loc->size == 0) ||
        __builtin_add_overflow(loc->start, loc->has_size ? loc->size - 1 : 0, &end) ||
        (loc->kind == LOC_IO && end >= IO_PORTS)) {
        return err_set(err, -ERANGE, "loc '%s' is empty, or leaves the address space", text);
    }
    return 0;
}

/* One of the numbers of a PCI address. */
static int parse_part(const char *text, const char *part, size_t size, const char *what,
                      uint32_t limit, uint32_t *value, struct err *err)
{
    uint64_t number;
    int r = conf_parse_number(part, size, CONF_DECIMAL, &number);

    if (r == -EINVAL) {
        return refuse(text, err);
    }
    if (r != 0 || number >= limit) {
        return err_set(err, -ERANGE, "loc '%s': a %s of PCI is 0 to %u", text, what, limit - 1);
    }
    *value = (uint32_t)number;
    return 0;
}

static int parse_pci(const char *text, const char *address, struct loc_pci *pci, struct err *err)
{
    const char *colon = strchr(address, ':');
    const char *device = colon != NULL ? colon + 1 : address;
    const char *dot = strchrnul(device, '.');
    int r = 0;

    if (*address == '\0') {
        return 0;
    }
    pci->has_device = true;
    pci->has_function = *dot == '.';
    if (colon != NULL) {
        r = parse_part(text, address, (size_t)(colon - address), "bus", LOC_PCI_BUSES, &pci->bus,
                       err);
    }
    r = r == 0 ? parse_part(text, device, (size_t)(dot - device), "device", LOC_PCI_DEVICES,
                            &pci->device, err)
               : r;
    if (r == 0 && pci->has_function) {
        r = parse_part(text, dot + 1, strlen(dot + 1), "function", LOC_PCI_FUNCTIONS,
                       &pci->function, err);
    }
    return r;
}

int loc_parse(const char *text, struct loc *loc, struct err *err)
{
    static const char *const prefixes[] = {[LOC_IO] = "io:", [LOC_MEMORY] = "mem:"};
    const char *rest = after(text, "pci:");
    struct loc parsed = {.kind = LOC_PCI};
    int r;

    if (rest != NULL) {
        r = parse_pci(text, rest, &parsed.pci, err);
    } else {
        parsed.kind = after(text, prefixes[LOC_IO]) != NULL ? LOC_IO : LOC_MEMORY;
        rest = after(text, prefixes[parsed.kind]);
        r = rest != NULL ? parse_range(text, rest, &parsed, err) : refuse(text, err);
    }
    if (r == 0) {
        *loc = parsed;
    }
    return r;
}

int intr_parse(const char *text, struct intr *intr, struct err *err)
{
    const char *colon = strrchr(text, ':');
    size_t size = colon != NULL ? (size_t)(colon - text) : 0;
    struct intr parsed = {.kind = INTR_LINE};
    uint64_t line;

    if (strcmp(text, "apic") == 0) {
        *intr = (struct intr){.kind = INTR_APIC};
        return 0;
    }
    if (size == 0 || size > LOC_PIC_NAME_MAX ||
        conf_parse_number(colon + 1, strlen(colon + 1), CONF_DECIMAL, &line) != 0) {
        return err_set(err, -EINVAL,
                       "intr '%s' is not PIC:LINE, as 'ioapic:4', where PIC is ioapic, 8259 or the "
                       "name of an interrupt controller",
                       text);
    }
    if (line > UINT16_MAX) {
        return err_set(err, -ERANGE, "intr '%s': there is no such line", text);
    }
    memcpy(parsed.pic, text, size);
    parsed.line = (uint32_t)line;
    *intr = parsed;
    return 0;
}
