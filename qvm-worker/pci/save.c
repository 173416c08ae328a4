/* What a function's configuration space and its MSI-X table hold, saved and restored.
 *
 * Restoring writes registers as a guest does, so that what a stranger saved can do no more than a
 * guest: BARs move, decoding begins last. Live capabilities are the device's own. */
#include <errno.h>
#include <string.h>

#include "proto/base/err.h"
#include "qvm-worker/fields.h"
#include "qvm-worker/pci/pci_private.h"

enum tag { TAG_SPACE = 1, TAG_TABLE, TAG_PENDING, TAG_MSI_PENDING };

#define WORD 4u /* bytes of a register */

static size_t table_size(const struct pci_function *function)
{
    return function->msix.count * sizeof(function->msix.words[0]);
}

static int save_pending(struct pci_messages *messages, enum tag tag, struct fields_writer *writer)
{
    uint64_t pending = pci_messages_pending(messages, 0); /* a vdev's are no more */

    return fields_put(writer, tag, VDEV_FIELD_NUMBER, &pending, sizeof(pending));
}

int pci_function_save(struct pci_function *function, struct fields_writer *writer)
{
    uint32_t table[PCI_MESSAGES_MAX][PCI_MESSAGE_WORDS];
    int r;

    (void)pthread_mutex_lock(&function->pci->lock);
    r = fields_put(writer, TAG_SPACE, VDEV_FIELD_BYTES, function->space.bytes,
                   sizeof(function->space.bytes));
    if (r == 0 && function->msix.count > 0) {
        for (uint32_t i = 0; i < function->msix.count; i++) {
            pci_messages_get(&function->msix, i, table[i]);
        }
        r = fields_put(writer, TAG_TABLE, VDEV_FIELD_BYTES, table, table_size(function));
        r = r == 0 ? save_pending(&function->msix, TAG_PENDING, writer) : r;
    }
    if (r == 0 && function->msi.count > 0) {
        r = save_pending(&function->msi, TAG_MSI_PENDING, writer);
    }
    (void)pthread_mutex_unlock(&function->pci->lock);
    return r;
}

static bool is_live(const struct pci_function *function, uint32_t at)
{
    for (uint32_t i = 0; i < function->live_count; i++) {
        if (at + WORD > function->live[i].at &&
            at < function->live[i].at + function->live[i].size) {
            return true;
        }
    }
    return false;
}

/* All registers that differ; what is decoded comes last. */
static void write_space(struct pci_function *function, const uint8_t *bytes)
{
    uint32_t value;

    for (uint32_t at = 0; at < PCI_SPACE_SIZE; at += WORD) {
        memcpy(&value, bytes + at, WORD);
        if (at != PCI_COMMAND && !is_live(function, at) &&
            value != pci_space_get(&function->space, at, WORD)) {
            pci_function_write(function, at, WORD, value);
        }
    }
    value = 0;
    memcpy(&value, bytes + PCI_COMMAND, 2);
    if (value != pci_space_get(&function->space, PCI_COMMAND, 2)) {
        pci_function_write(function, PCI_COMMAND, 2, value);
    }
}

/* Behind their masks; the enable bit comes with the space. */
static void write_table(struct pci_function *function, uint32_t (*table)[PCI_MESSAGE_WORDS])
{
    for (uint32_t i = 0; i < function->msix.count; i++) {
        uint32_t now[PCI_MESSAGE_WORDS];

        table[i][PCI_MESSAGE_ADDRESS] &= ~3u; /* 6.8.2.6, 6.8.2.9: as a guest's writes */
        table[i][PCI_MESSAGE_CONTROL] &= PCI_MESSAGE_MASKED;
        pci_messages_get(&function->msix, i, now);
        if (memcmp(now, table[i], sizeof(now)) != 0) {
            pci_messages_put(&function->msix, i, 0, PCI_MESSAGE_WORDS, table[i]);
        }
    }
}

/* What waited waits again, or goes if nothing masks it any more. */
static void raise_pending(struct pci_messages *messages, uint64_t pending)
{
    pending &= ~pci_messages_pending(messages, 0); /* a vdev's are no more */
    for (uint32_t i = 0; i < messages->count && i < PCI_MESSAGES_A_WORD; i++) {
        if ((pending >> i & 1) != 0) {
            (void)pci_messages_send(messages, i);
        }
    }
}

/* Of MSI older lists have none. */
static int read_msi_pending(const struct pci_function *function, struct fields_reader *reader,
                            uint64_t *pending, struct err *err)
{
    int r = function->msi.count == 0 ? 0
                                     : fields_get(reader, TAG_MSI_PENDING, VDEV_FIELD_NUMBER,
                                                  pending, sizeof(*pending), 0, err);

    return r == -ENOENT ? 0 : r;
}

int pci_function_restore(struct pci_function *function, const uint8_t *bytes, size_t size,
                         struct err *err)
{
    uint32_t table[PCI_MESSAGES_MAX][PCI_MESSAGE_WORDS] = {{0}};
    uint8_t space[PCI_SPACE_SIZE];
    struct fields_reader reader;
    uint64_t pending = 0, msi_pending = 0;
    int r = fields_open(&reader, bytes, size, 0, err);

    r = r == 0 ? fields_get(&reader, TAG_SPACE, VDEV_FIELD_BYTES, space, sizeof(space), 0, err) : r;
    if (r == 0 && function->msix.count > 0) {
        r = fields_get(&reader, TAG_TABLE, VDEV_FIELD_BYTES, table, table_size(function), 0, err);
        r = r == 0 ? fields_get(&reader, TAG_PENDING, VDEV_FIELD_NUMBER, &pending, sizeof(pending),
                                0, err)
                   : r;
    }
    r = r == 0 ? read_msi_pending(function, &reader, &msi_pending, err) : r;
    r = r == 0 ? fields_close(&reader, err) : r;
    if (r != 0) {
        return r == -ENOENT ? err_set(err, -EINVAL, "a field of its PCI function is missing") : r;
    }
    (void)pthread_mutex_lock(&function->pci->lock);
    write_table(function, table);
    write_space(function, space);
    raise_pending(&function->msix, pending);
    raise_pending(&function->msi, msi_pending);
    (void)pthread_mutex_unlock(&function->pci->lock);
    return 0;
}
