/* The messages of one function: where each goes, what masks it, what waits behind the masks.
 *
 * PCI Local Bus Specification 3.0, 6.8. MSI-X's table (msix.h) and MSI's capability (msi.h) are two
 * ways in which a guest says the same. A message is sent because the device says so
 * (pci_messages_send), or because somebody wrote to its event descriptor: KVM hears that as long as
 * the message may go, without this process; while it is masked, what was written is its pending
 * bit.
 *
 * Threads: any; a lock inside (bus.c), under which messages are sent and routes are set. */
#ifndef QVM_WORKER_PCI_MESSAGE_H
#define QVM_WORKER_PCI_MESSAGE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Each may cost an event descriptor, and a route of KVM's table, which has some thousands for all
 * of a VM: so a function has fewer than the 2048 of the specification. */
#define PCI_MESSAGES_MAX      256u
#define PCI_MESSAGES_A_WORD   64u /* of bits */
#define PCI_MESSAGES_OF_VDEVS 64u /* of a function whose table is ours */

struct pci_ops;

/* Words of a message, as MSI-X's table has them. */
enum pci_message_word {
    PCI_MESSAGE_ADDRESS,
    PCI_MESSAGE_ADDRESS_HIGH,
    PCI_MESSAGE_DATA,
    PCI_MESSAGE_CONTROL,
    PCI_MESSAGE_WORDS
};
#define PCI_MESSAGE_MASKED 1u /* of the control word; its other bits are reserved */

/* Event descriptors by number of the message, and where the VM has their routes. */
struct pci_events {
    int fds[PCI_MESSAGES_MAX]; /* -1: none */
    uint32_t routes[PCI_MESSAGES_MAX];
};

struct pci_messages {
    pthread_mutex_t lock;
    const struct pci_ops *ops;
    void *context;
    const struct pci_events *events; /* NULL: there are none */
    uint32_t count;                  /* 0: the function has none of this kind */
    bool is_enabled, is_masked;      /* all of them */
    bool is_master;                  /* the function may write to memory at all */
    uint64_t pending[PCI_MESSAGES_MAX / PCI_MESSAGES_A_WORD]; /* bit N % 64 of word N / 64 */
    uint64_t heard[PCI_MESSAGES_MAX / PCI_MESSAGES_A_WORD];   /* by KVM; likewise */
    uint32_t words[PCI_MESSAGES_MAX][PCI_MESSAGE_WORDS];
};

void pci_messages_init(struct pci_messages *messages, uint32_t count, const struct pci_ops *ops,
                       void *context);
void pci_messages_fini(struct pci_messages *messages);

/* Power-on: not enabled, each one masked, nothing pending, no bus master. */
void pci_messages_reset(struct pci_messages *messages);

/* Sends what waited for that, and has KVM hear the events of those that may go. Events of before
 * they were enabled are forgotten. */
void pci_messages_enable(struct pci_messages *messages, bool is_enabled, bool is_masked);
/* The function is a bus master from now on, or no more (6.2.2): a message is a write to memory, so
 * without that it waits, as behind a mask. Likewise. */
void pci_messages_set_master(struct pci_messages *messages, bool is_master);

bool pci_messages_are_enabled(struct pci_messages *messages);

/* Some words of a message: `first` + `count` is at most PCI_MESSAGE_WORDS. Likewise. */
void pci_messages_put(struct pci_messages *messages, uint32_t number, uint32_t first,
                      uint32_t count, const uint32_t *words);
void pci_messages_get(struct pci_messages *messages, uint32_t number,
                      uint32_t words[PCI_MESSAGE_WORDS]);

/* The same for all of them at once: `words` of messages 0 to count - 1. */
void pci_messages_put_all(struct pci_messages *messages, uint32_t (*words)[PCI_MESSAGE_WORDS]);

/* The device has something to say: sends the message, or keeps it while it is masked. False: they
 * are not enabled. One that does not exist is none to send. */
bool pci_messages_send(struct pci_messages *messages, uint32_t number);

/* What waits behind masks: bit N is message 64 * `word` + N. `word` lies inside. */
uint64_t pci_messages_pending(struct pci_messages *messages, uint32_t word);

#endif
