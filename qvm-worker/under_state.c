/* The answer to qvmd's query. */
#include "qvm-worker/under_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/msg.h"
#include "qvm-worker/control/control.h"
#include "qvm-worker/run.h"

#define DEVICES_MAX 256
#define VALUES_MAX  256 /* of one device */

struct gathered {
    struct msg_state state;
    struct msg_vdev_state devices[DEVICES_MAX];
};

/* The device called `name` (it is the last one: devices come one after the other), or a new one. */
static struct msg_vdev_state *device_of(struct gathered *gathered, const char *name)
{
    size_t count = gathered->state.vdevs_count;
    struct msg_vdev_state *device = count > 0 ? &gathered->devices[count - 1] : NULL;

    if (device != NULL && strcmp(device->name, name) == 0) {
        return device;
    }
    if (count == DEVICES_MAX) {
        return NULL;
    }
    device = &gathered->devices[count];
    device->name = strdup(name);
    device->values = calloc(VALUES_MAX, sizeof(*device->values));
    if (device->name == NULL || device->values == NULL) {
        msg_fini(MSG_vdev_state, device);
        return NULL;
    }
    gathered->state.vdevs_count++;
    return device;
}

static void add(void *context, const char *name, const char *value_name, const char *text)
{
    struct msg_vdev_state *device = device_of(context, name);
    struct msg_value *value;

    if (device == NULL || device->values_count == VALUES_MAX) {
        return;
    }
    value = &device->values[device->values_count];
    value->name = strdup(value_name);
    value->value = strdup(text);
    if (value->name == NULL || value->value == NULL) {
        msg_fini(MSG_value, value);
        return;
    }
    device->values_count++;
}

void under_send_state(struct control *control, struct run *run, const struct msg_query *query)
{
    struct gathered *gathered = calloc(1, sizeof(*gathered));
    size_t count;

    if (gathered == NULL) {
        return; /* no answer: qvmd has a deadline */
    }
    gathered->state.serial = query->serial;
    gathered->state.vdevs = gathered->devices;
    if (run != NULL) {
        run_state(run, add, gathered);
    }
    count = gathered->state.vdevs_count;
    while (control_send(control, CONTROL_state, &gathered->state) == -EINVAL &&
           gathered->state.vdevs_count > 0) {
        gathered->state.vdevs_count /= 2; /* too long for a packet */
    }
    for (size_t i = 0; i < count; i++) {
        msg_fini(MSG_vdev_state, &gathered->devices[i]);
    }
    free(gathered);
}
