/* The method that looks for what is wrong. */
#include <string.h>

#include "daemon/guest/doctor.h"
#include "daemon/hand/hand.h"
#include "daemon/ops/inside.h"
#include "daemon/store/store.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

void op_doctor(struct ops *ops, struct reply *reply, const void *params)
{
    struct doctor doctor = {0};
    struct msg_event_list last = {0};
    struct doctor_host host = {
        .guests = guests_count(ops->env.guests),
        .degraded = store_degraded(ops->env.store),
        .store_path = ops->env.store_path,
        .qvm_path = ops->env.qvm_path,
        .vdev_dir = ops->env.vdev_dir,
        .stuck_hands = hands_stuck(ops->env.hands),
    };

    (void)params; /* has no members */
    if (store_events_read(ops->env.store, &(struct msg_events_params){.limit = 1}, &last, NULL) ==
            0 &&
        last.events_count > 0) {
        host.last_event = last.events[0].time;
    }
    doctor_look_at_host(&doctor, &host);
    guests_checkup(ops->env.guests, &doctor);
    reply_result(reply, MSG_diagnosis, &doctor.diagnosis);
    msg_fini(MSG_event_list, &last);
    msg_fini(MSG_diagnosis, &doctor.diagnosis);
}
