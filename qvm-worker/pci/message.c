/* The messages of one function. */
#include "qvm-worker/pci/message.h"

#include <string.h>
#include <unistd.h>

#include "qvm-worker/pci/pci.h"

static bool is_set(const uint64_t *bits, uint32_t number)
{
    return (bits[number / PCI_MESSAGES_A_WORD] >> number % PCI_MESSAGES_A_WORD & 1) != 0;
}

static void set_bit(uint64_t *bits, uint32_t number, bool is_on)
{
    uint64_t bit = UINT64_C(1) << number % PCI_MESSAGES_A_WORD;
    uint64_t *word = &bits[number / PCI_MESSAGES_A_WORD];

    *word = is_on ? *word | bit : *word & ~bit;
}

void pci_messages_init(struct pci_messages *messages, uint32_t count, const struct pci_ops *ops,
                       void *context)
{
    *messages = (struct pci_messages){.count = count, .ops = ops, .context = context};
    (void)pthread_mutex_init(&messages->lock, NULL); /* cannot fail for a plain one */
    pci_messages_reset(messages);
}

void pci_messages_fini(struct pci_messages *messages)
{
    (void)pthread_mutex_destroy(&messages->lock); /* nobody holds it */
}

static bool has_event(const struct pci_messages *messages, uint32_t number)
{
    return messages->events != NULL && messages->events->fds[number] >= 0;
}

static bool is_heard(const struct pci_messages *messages, uint32_t number)
{
    return is_set(messages->heard, number);
}

/* Whether the event was written to since somebody took it. */
static bool take_event(const struct pci_messages *messages, uint32_t number)
{
    uint64_t count;

    return has_event(messages, number) &&
           read(messages->events->fds[number], &count, sizeof(count)) == (ssize_t)sizeof(count);
}

static bool may_go(const struct pci_messages *messages, uint32_t number)
{
    return messages->is_enabled && !messages->is_masked && messages->is_master &&
           (messages->words[number][PCI_MESSAGE_CONTROL] & PCI_MESSAGE_MASKED) == 0;
}

static uint64_t address_of(const struct pci_messages *messages, uint32_t number)
{
    const uint32_t *words = messages->words[number];

    return words[PCI_MESSAGE_ADDRESS] | (uint64_t)words[PCI_MESSAGE_ADDRESS_HIGH] << 32;
}

static void send(const struct pci_messages *messages, uint32_t number)
{
    messages->ops->message(messages->context, address_of(messages, number),
                           messages->words[number][PCI_MESSAGE_DATA]);
}

/* KVM takes what waits in a descriptor along when it begins to hear it, and leaves it there. */
static void hear(struct pci_messages *messages, uint32_t number)
{
    const struct pci_events *events = messages->events;

    if (messages->ops->hear(messages->context, events->routes[number], events->fds[number], true) ==
        0) { /* out of memory: it waits for the next time */
        set_bit(messages->heard, number, true);
        (void)take_event(messages, number);
    }
}

static void hear_no_more(struct pci_messages *messages, uint32_t number)
{
    const struct pci_events *events = messages->events;

    if (is_heard(messages, number)) {
        (void)messages->ops->hear(messages->context, events->routes[number], events->fds[number],
                                  false);
        set_bit(messages->heard, number, false);
    }
}

/* Routes of those that may go, in one change of the VM's table. */
static void set_routes(struct pci_messages *messages, uint32_t first, uint32_t end)
{
    bool has_any = false;

    for (uint32_t i = first; i < end; i++) {
        if (!may_go(messages, i)) {
            hear_no_more(messages, i);
        } else if (has_event(messages, i)) {
            messages->ops->set_route(messages->context, messages->events->routes[i],
                                     address_of(messages, i), messages->words[i][PCI_MESSAGE_DATA]);
            has_any = true;
        }
    }
    if (has_any) {
        messages->ops->commit_routes(messages->context);
    }
}

/* Messages `first` to `end` - 1 changed. 6.8.3.4: a pending one goes as soon as nothing masks it.
 */
static void settle(struct pci_messages *messages, uint32_t first, uint32_t end)
{
    if (messages->events != NULL && messages->ops->hear != NULL) {
        set_routes(messages, first, end);
    }
    for (uint32_t i = first; i < end; i++) {
        if (!may_go(messages, i)) {
            continue;
        }
        if (is_set(messages->pending, i)) {
            set_bit(messages->pending, i, false);
            send(messages, i);
        }
        if (has_event(messages, i) && !is_heard(messages, i) && messages->ops->hear != NULL) {
            hear(messages, i);
        }
    }
}

void pci_messages_reset(struct pci_messages *messages)
{
    (void)pthread_mutex_lock(&messages->lock);
    messages->is_enabled = false;
    messages->is_masked = false;
    messages->is_master = false;
    memset(messages->pending, 0, sizeof(messages->pending));
    memset(messages->words, 0, sizeof(messages->words));
    for (uint32_t i = 0; i < PCI_MESSAGES_MAX; i++) {
        messages->words[i][PCI_MESSAGE_CONTROL] = PCI_MESSAGE_MASKED;
    }
    settle(messages, 0, messages->count);
    (void)pthread_mutex_unlock(&messages->lock);
}

void pci_messages_enable(struct pci_messages *messages, bool is_enabled, bool is_masked)
{
    (void)pthread_mutex_lock(&messages->lock);
    for (uint32_t i = 0; is_enabled && !messages->is_enabled && i < messages->count; i++) {
        (void)take_event(messages, i);
    }
    messages->is_enabled = is_enabled;
    messages->is_masked = is_masked;
    settle(messages, 0, messages->count);
    (void)pthread_mutex_unlock(&messages->lock);
}

void pci_messages_set_master(struct pci_messages *messages, bool is_master)
{
    (void)pthread_mutex_lock(&messages->lock);
    if (messages->is_master != is_master) {
        messages->is_master = is_master;
        settle(messages, 0, messages->count);
    }
    (void)pthread_mutex_unlock(&messages->lock);
}

bool pci_messages_are_enabled(struct pci_messages *messages)
{
    bool are_enabled;

    (void)pthread_mutex_lock(&messages->lock);
    are_enabled = messages->is_enabled;
    (void)pthread_mutex_unlock(&messages->lock);
    return are_enabled;
}

static void put_words(struct pci_messages *messages, uint32_t number, uint32_t first,
                      uint32_t count, const uint32_t *from)
{
    uint32_t *words = messages->words[number];

    memcpy(words + first, from, count * sizeof(*from));
    words[PCI_MESSAGE_ADDRESS] &= ~3u; /* 6.8.2.6: always aligned */
    words[PCI_MESSAGE_CONTROL] &= PCI_MESSAGE_MASKED;
}

void pci_messages_put(struct pci_messages *messages, uint32_t number, uint32_t first,
                      uint32_t count, const uint32_t *words)
{
    (void)pthread_mutex_lock(&messages->lock);
    put_words(messages, number, first, count, words);
    settle(messages, number, number + 1);
    (void)pthread_mutex_unlock(&messages->lock);
}

void pci_messages_put_all(struct pci_messages *messages, uint32_t (*words)[PCI_MESSAGE_WORDS])
{
    (void)pthread_mutex_lock(&messages->lock);
    for (uint32_t i = 0; i < messages->count; i++) {
        put_words(messages, i, 0, PCI_MESSAGE_WORDS, words[i]);
    }
    settle(messages, 0, messages->count);
    (void)pthread_mutex_unlock(&messages->lock);
}

void pci_messages_get(struct pci_messages *messages, uint32_t number,
                      uint32_t words[PCI_MESSAGE_WORDS])
{
    (void)pthread_mutex_lock(&messages->lock);
    memcpy(words, messages->words[number], sizeof(messages->words[number]));
    (void)pthread_mutex_unlock(&messages->lock);
}

bool pci_messages_send(struct pci_messages *messages, uint32_t number)
{
    bool is_enabled;

    (void)pthread_mutex_lock(&messages->lock);
    is_enabled = messages->is_enabled;
    if (is_enabled && number < messages->count) {
        if (may_go(messages, number)) {
            send(messages, number);
        } else {
            set_bit(messages->pending, number, true);
        }
    }
    (void)pthread_mutex_unlock(&messages->lock);
    return is_enabled;
}

uint64_t pci_messages_pending(struct pci_messages *messages, uint32_t word)
{
    uint32_t first = word * PCI_MESSAGES_A_WORD, end = first + PCI_MESSAGES_A_WORD;
    uint64_t pending;

    (void)pthread_mutex_lock(&messages->lock);
    end = end < messages->count ? end : messages->count;
    for (uint32_t i = first; messages->is_enabled && i < end; i++) {
        if (!is_heard(messages, i) && take_event(messages, i)) {
            set_bit(messages->pending, i, true);
        }
    }
    pending = messages->pending[word];
    (void)pthread_mutex_unlock(&messages->lock);
    return pending;
}
