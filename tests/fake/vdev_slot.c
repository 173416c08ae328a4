/* A slot for one device without a qvm around it. */
#include "tests/fake/vdev_slot.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int fake_fail(struct vdev_slot *slot, const struct vdev_value *value, const char *format,
                     ...)
{
    va_list args;

    (void)value;
    va_start(args, format);
    (void)vsnprintf(slot->failure, sizeof(slot->failure), format, args);
    va_end(args);
    return -EINVAL;
}

static void fake_log(struct vdev_slot *slot, enum vdev_log_level level, const char *format, ...)
{
    (void)slot;
    (void)level;
    (void)format;
}

static void fake_intr(struct vdev_slot *slot, bool is_high)
{
    slot->rise_count += is_high && !slot->is_high;
    slot->is_high = is_high;
}

static uint64_t fake_now_ns(struct vdev_slot *slot)
{
    return slot->now_ns;
}

static uint64_t fake_wall_ns(struct vdev_slot *slot)
{
    return slot->wall_ns;
}

static void fake_timer(struct vdev_slot *slot, uint64_t deadline_ns)
{
    slot->deadline_ns = deadline_ns;
}

static void fake_stream_write(struct vdev_slot *slot, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++, slot->sent_count++) {
        if (slot->sent_count < FAKE_SENT_MAX) {
            slot->sent[slot->sent_count] = data[i];
        }
    }
}

static void fake_stream_resume(struct vdev_slot *slot)
{
    slot->resume_count++;
}

static void fake_request(struct vdev_slot *slot, enum vdev_request request, uint32_t value)
{
    slot->request_count++;
    slot->request = request;
    slot->request_value = value;
}

static const struct vdev_services services = {
    .size = sizeof(services),
    .abi = QVM_VDEV_ABI,
    .fail = fake_fail,
    .log = fake_log,
    .intr = fake_intr,
    .now_ns = fake_now_ns,
    .wall_ns = fake_wall_ns,
    .timer = fake_timer,
    .stream_write = fake_stream_write,
    .stream_resume = fake_stream_resume,
    .request = fake_request,
};

int fake_slot_create(struct vdev_slot *slot, const struct vdev_module *module,
                     const struct vdev_value *values, uint32_t value_count,
                     const struct vdev_region *regions, uint32_t region_count)
{
    struct vdev_config config = {
        .size = sizeof(config),
        .name = "fake",
        .values = values,
        .value_count = value_count,
        .regions = regions != NULL ? regions : module->default_regions,
        .region_count = regions != NULL ? region_count : module->default_region_count,
        .intr_line = module->default_intr,
        .cpu_count = 2,
        .ram_below_4g = UINT64_C(3) << 30,
        .ram_above_4g = UINT64_C(5) << 30,
    };

    *slot = (struct vdev_slot){
        .module = module, .now_ns = 1000000000, .wall_ns = UINT64_C(1700000000000000000)};
    return module->ops->create(&services, slot, &config, &slot->device);
}

void fake_slot_destroy(struct vdev_slot *slot)
{
    slot->module->ops->destroy(slot->device);
    slot->device = NULL;
}

uint8_t fake_slot_in(struct vdev_slot *slot, uint32_t region, uint64_t at)
{
    return (uint8_t)slot->module->ops->read(slot->device, region, at, 1);
}

void fake_slot_out(struct vdev_slot *slot, uint32_t region, uint64_t at, uint8_t value)
{
    slot->module->ops->write(slot->device, region, at, 1, value);
}

size_t fake_slot_type(struct vdev_slot *slot, const void *data, size_t count)
{
    return slot->module->ops->receive(slot->device, data, count);
}

void fake_slot_advance(struct vdev_slot *slot, uint64_t ns)
{
    uint64_t end = slot->now_ns + ns;

    while (slot->deadline_ns != 0 && slot->deadline_ns <= end) {
        uint64_t step = slot->deadline_ns > slot->now_ns ? slot->deadline_ns - slot->now_ns : 0;

        slot->now_ns += step;
        slot->wall_ns += step;
        slot->deadline_ns = 0;
        slot->timer_count++;
        slot->module->ops->timer(slot->device);
    }
    slot->wall_ns += end - slot->now_ns;
    slot->now_ns = end;
}

void fake_slot_reset(struct vdev_slot *slot)
{
    slot->deadline_ns = 0;
    slot->is_high = false;
    slot->module->ops->reset(slot->device);
}

static void add_state(void *context, const char *name, const char *value)
{
    struct vdev_slot *slot = context;
    size_t used = strlen(slot->state);

    (void)snprintf(slot->state + used, sizeof(slot->state) - used, "%s=%s\n", name, value);
}

const char *fake_slot_state(struct vdev_slot *slot)
{
    slot->state[0] = '\0';
    slot->module->ops->state(slot->device, add_state, slot);
    return slot->state;
}
