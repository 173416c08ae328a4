/* What devices.bzimage obeys beside the commands of commands.c: whatever few tests need. */
#include "tests/guests/bare/chips.h"
#include "tests/guests/bare/commands.h"
#include "tests/guests/bare/console.h"
#include "tests/guests/bare/edu.h"
#include "tests/guests/bare/fs.h"
#include "tests/guests/bare/machine.h"
#include "tests/guests/bare/net.h"
#include "tests/guests/bare/pci.h"
#include "tests/guests/bare/text.h"
#include "tests/guests/bare/vsock.h"

static void command_irqs(const char *arguments)
{
    (void)arguments;
    chips_try();
}

static void command_randomly(const char *arguments)
{
    uint64_t accesses;

    if (!text_number(arguments, 10, &accesses, NULL) || accesses > UINT32_MAX) {
        print("how many accesses?\n");
        return;
    }
    chips_storm((unsigned)accesses);
    print("%u accesses\n", accesses);
}

const struct command more_commands[] = {
    {"irqs", command_irqs, "interrupts by the 8259 and the IOAPIC, from vdev test-dev"},
    {"randomly", command_randomly, "N: so many random accesses of ports and addresses"},
    {"pcistorm", pci_storm, "SEED COUNT: random writes to configuration space"},
    {"pci", pci_walk, "the functions of bus 0"},
    {"msix", pci_msix, "DEVICE COUNT: have a pci-dummy send messages"},
    {"msi", pci_msi, "DEVICE COUNT: likewise, with MSI"},
    {"events", pci_events, "DEVICE COUNT: have others raise its messages"},
    {"lines", pci_lines, "DEVICE COUNT: and its line"},
    {"edu", edu_messages, "DEVICE COUNT: have an edu send messages by MSI"},
    {"edudma", edu_dma, "DEVICE ADDRESS: have it copy 16 bytes to there"},
    {"fs", fs_command, "PLACE GSI tag | read NAME | write NAME WORD: a folder of the host"},
    {"net", net_command, "PLACE PORT WORD: an address by DHCP, and UDP to the router"},
    {"vsock", vsock_command, "PLACE GSI listen PORT COUNT | call PORT: sockets to the host"},
    {"intx", pci_intx, "DEVICE COUNT: have a pci-dummy raise its line"},
};
const unsigned more_command_count = ARRAY_LEN(more_commands);
