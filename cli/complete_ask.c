/* What may stand on a command line, as far as qvmd knows it. */
#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/complete.h"
#include "cli/complete_inside.h"
#include "cli/pci_words.h"
#include "cli/sources.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

/* Everything about a guest; false: it is not known. msg_fini() in either case. */
static bool ask_show(const struct line *line, char *name, struct msg_show *show)
{
    struct cli cli = {.socket = line->socket, .timeout_ms = COMPLETE_PATIENCE_MS};
    auto_client struct client client = CLIENT_CLOSED;
    struct err err = {0};

    return client_init(&client, &cli, COMPLETE_PATIENCE_MS, &err) == 0 &&
           client_ask(&client, METHOD_show, &(struct msg_guest_params){.name = name}, show, &err) ==
               0;
}

/* The value of `port-N` begins with its name and a comma. */
static void offer_ports_of(const struct line *line, const char *guest,
                           const struct msg_vdev_state *vdev)
{
    for (size_t i = 0; i < vdev->values_count; i++) {
        const struct msg_value *value = &vdev->values[i];
        char word[2 * GUEST_NAME_MAX + 8];

        size_t digits =
            strncmp(value->name, "port-", 5) == 0 ? strspn(value->name + 5, "0123456789") : 0;

        if (digits > 0 && value->name[5 + digits] == '\0' && strchr(value->value, ',') != NULL) {
            (void)snprintf(word, sizeof(word), "%s:%.*s", guest, (int)strcspn(value->value, ","),
                           value->value);
            complete_offer(line, word, NULL);
        }
    }
}

static void offer_ports(const struct line *line)
{
    char guest[GUEST_NAME_MAX + 1];
    struct msg_show show = {0};

    if (strcspn(line->last, ":") < sizeof(guest)) {
        (void)snprintf(guest, sizeof(guest), "%.*s", (int)strcspn(line->last, ":"), line->last);
        if (guest_name_is_valid(guest) && ask_show(line, guest, &show)) {
            for (size_t i = 0; i < show.vdevs_count; i++) {
                offer_ports_of(line, guest, &show.vdevs[i]);
            }
        }
    }
    msg_fini(MSG_show, &show);
}

/* A name that is not there yet, of a guest with which the command can do something. */
static bool is_offered(const struct line *line, const struct msg_guest *guest)
{
    for (int i = 0; i < line->argument_count; i++) {
        if (strcmp(line->arguments[i], guest->name) == 0) {
            return false;
        }
    }
    return guest_name_is_valid(guest->name) &&
           (line->command == NULL || line->command->all_means == NULL ||
            line->command->all_means(guest));
}

void complete_offer_guests(const struct line *line)
{
    struct cli cli = {.socket = line->socket, .timeout_ms = COMPLETE_PATIENCE_MS};
    auto_client struct client client = CLIENT_CLOSED;
    struct msg_guest_list list = {0};
    struct err err = {0};

    if (strstr(line->command->synopsis, "NAME[:PORT]") != NULL && strchr(line->last, ':') != NULL) {
        offer_ports(line);
        return;
    }
    if (line->argument_count > 0 && strstr(line->command->synopsis, "FILE") != NULL &&
        sources_is_file(line->arguments[0])) {
        return; /* what stands behind a FILE are its words */
    }
    if (client_init(&client, &cli, COMPLETE_PATIENCE_MS, &err) == 0 &&
        client_ask(&client, METHOD_list, &(struct msg_list_params){0}, &list, &err) == 0) {
        for (size_t i = 0; i < list.guests_count; i++) {
            if (is_offered(line, &list.guests[i])) {
                complete_offer(line, list.guests[i].name,
                               words_name(&words_state, list.guests[i].state));
            }
        }
    }
    msg_fini(MSG_guest_list, &list);
}

void complete_offer_regions(const struct line *line)
{
    struct cli cli = {.socket = line->socket, .timeout_ms = COMPLETE_PATIENCE_MS};
    auto_client struct client client = CLIENT_CLOSED;
    struct msg_shmem_list list = {0};
    struct err err = {0};

    if (client_init(&client, &cli, COMPLETE_PATIENCE_MS, &err) == 0 &&
        client_ask(&client, METHOD_shmem, &(struct msg_none){}, &list, &err) == 0) {
        for (size_t i = 0; i < list.regions_count; i++) {
            complete_offer(line, list.regions[i].name, list.regions[i].owner);
        }
    }
    msg_fini(MSG_shmem_list, &list);
}

void complete_offer_devices(const struct line *line)
{
    struct cli cli = {.socket = line->socket, .timeout_ms = COMPLETE_PATIENCE_MS};
    auto_client struct client client = CLIENT_CLOSED;
    struct msg_device_list list = {0};
    struct err err = {0};

    if (client_init(&client, &cli, COMPLETE_PATIENCE_MS, &err) == 0 &&
        client_ask(&client, METHOD_devices, &(struct msg_none){}, &list, &err) == 0) {
        for (size_t i = 0; i < list.devices_count; i++) {
            complete_offer(line, list.devices[i].bdf, pci_class_word(list.devices[i].class));
        }
    }
    msg_fini(MSG_device_list, &list);
}

/* A disk counts flushes. */
static bool is_disk(const struct msg_vdev_state *vdev)
{
    for (size_t i = 0; i < vdev->values_count; i++) {
        if (strcmp(vdev->values[i].name, "flushes") == 0) {
            return true;
        }
    }
    return false;
}

void complete_offer_vdevs(const struct line *line)
{
    bool is_helper = strcmp(line->command->name, "helper") == 0;
    struct msg_show show = {0};

    if (line->argument_count > 0 && ask_show(line, line->arguments[0], &show)) {
        for (size_t i = 0; is_helper && i < show.helpers_count; i++) {
            if (show.helpers[i].vdev != NULL) {
                complete_offer(line, show.helpers[i].vdev, show.helpers[i].state);
            }
        }
        for (size_t i = 0; !is_helper && i < show.vdevs_count; i++) {
            if (is_disk(&show.vdevs[i])) {
                complete_offer(line, show.vdevs[i].name, NULL);
            }
        }
    }
    msg_fini(MSG_show, &show);
}
