/* INTx: who holds which line of the interrupt controllers. */
#include <unistd.h>

#include "qvm-worker/pci/pci_private.h"

/* Device numbers from here on have their pins on PIRQA to D, the others on E to H: 3 series
 * firmware expects it so. */
#define DEVICES_ROTATED 25u

uint32_t pci_pirq(uint32_t device, uint32_t pin)
{
    return device < DEVICES_ROTATED ? PCI_PINS + (device + pin) % PCI_PINS : pin;
}

static uint32_t pirq_of(const struct pci_function *function)
{
    uint32_t device, pin;

    pci_root_pin(function, &device, &pin);
    return pci_pirq(device, pin);
}

static void drive(const struct pci *pci, uint32_t pirq, bool is_held)
{
    pci->config.ops->line(pci->config.context, PCI_GSI_BASE + pirq, is_held);
    if (pci->pirq_route[pirq] != PCI_NO_ROUTE) {
        pci->config.ops->line(pci->config.context, pci->pirq_route[pirq], is_held);
    }
}

/* The lines' lock is held. */
static void hold(struct pci_function *function, bool is_held)
{
    struct pci *pci = function->pci;
    uint32_t pirq = pirq_of(function);
    uint32_t *count = &pci->pirq_count[pirq];

    if (function->is_held == is_held) {
        return;
    }
    function->is_held = is_held;
    *count = is_held ? *count + 1 : *count - 1;
    if (*count == (is_held ? 1 : 0)) {
        drive(pci, pirq, is_held);
    }
}

/* The lines' lock is held. Who begins to be heard is asked whether he wants service. */
static void hear_line(struct pci_function *function, bool is_heard)
{
    const struct pci_config *config = &function->pci->config;
    uint32_t gsi = PCI_GSI_BASE + pirq_of(function);
    const uint64_t one = 1;

    if (function->line_event.fd < 0 || function->line_event.is_heard == is_heard ||
        config->ops->hear_line == NULL || !pci_hears_lines(function->pci) ||
        config->ops->hear_line(config->context, gsi, function->line_event.fd,
                               function->line_event.resample_fd, is_heard) != 0) {
        return;
    }
    function->line_event.is_heard = is_heard;
    if (is_heard) {
        (void)!write(function->line_event.resample_fd, &one, sizeof(one)); /* full: it is asked */
    }
}

void pci_drop_line(struct pci_function *function)
{
    (void)pthread_mutex_lock(&function->pci->lines_lock);
    hear_line(function, false);
    (void)pthread_mutex_unlock(&function->pci->lines_lock);
}

static void set_intx(struct pci_function *function, bool is_asserted)
{
    bool is_off = function->is_intx_off || pci_has_messages(function);

    function->is_asserted = is_asserted;
    hold(function, is_asserted && !is_off);
}

void pci_update_intx(struct pci_function *function)
{
    (void)pthread_mutex_lock(&function->pci->lines_lock);
    function->is_intx_off =
        (pci_space_get(&function->space, PCI_COMMAND, 2) & PCI_COMMAND_INTX_OFF) != 0;
    set_intx(function, function->is_asserted);
    hear_line(function, !function->is_intx_off && !pci_has_messages(function));
    (void)pthread_mutex_unlock(&function->pci->lines_lock);
}

void pci_intx(struct pci_function *function, bool is_high)
{
    (void)pthread_mutex_lock(&function->pci->lines_lock);
    set_intx(function, is_high);
    (void)pthread_mutex_unlock(&function->pci->lines_lock);
}

bool pci_is_asserted(struct pci_function *function)
{
    bool is_asserted;

    (void)pthread_mutex_lock(&function->pci->lines_lock);
    is_asserted = function->is_asserted;
    (void)pthread_mutex_unlock(&function->pci->lines_lock);
    return is_asserted;
}

void pci_route_pirq(struct pci *pci, uint32_t pirq, uint8_t line)
{
    (void)pthread_mutex_lock(&pci->lines_lock);
    if (pci->pirq_route[pirq] != line) {
        bool is_held = pci->pirq_count[pirq] > 0;

        if (is_held && pci->pirq_route[pirq] != PCI_NO_ROUTE) {
            pci->config.ops->line(pci->config.context, pci->pirq_route[pirq], false);
        }
        pci->pirq_route[pirq] = line;
        if (is_held && line != PCI_NO_ROUTE) {
            pci->config.ops->line(pci->config.context, line, true);
        }
    }
    (void)pthread_mutex_unlock(&pci->lines_lock);
}
