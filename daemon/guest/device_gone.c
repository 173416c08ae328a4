/* A guest loses a device: some had better not go on. */
#include <unistd.h>

#include "daemon/device_pool.h"
#include "daemon/guest/device.h"
#include "proto/base/err.h"
#include "proto/base/log.h"

static void on_paused(void *data, const struct guest *guest, const char *note,
                      const struct err *err)
{
    (void)data;
    (void)note;
    if (err != NULL) {
        log_warn("guest: not paused, though its device has vanished guest=%s why=\"%s\"",
                 guest->name, err->msg);
    }
}

void guests_device_vanished(struct guests *guests, const char *name, const char *bdf)
{
    const struct pool_device *row =
        guests->env.devices != NULL ? device_pool_at(guests->env.devices, bdf) : NULL;
    struct guest *guest = guest_find(guests, name);

    if (guest != NULL && row != NULL && row->is_pausing) {
        guest_act(guest, &(struct guest_caller){.uid = geteuid(), .is_admin = true},
                  &(struct guest_act_spec){.kind = GUEST_PAUSE}, on_paused, NULL);
    }
}
