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
    va_list args;

    (void)level;
    slot->log_count++;
    va_start(args, format);
    (void)vsnprintf(slot->logged, sizeof(slot->logged), format, args);
    va_end(args);
}

static void fake_intr(struct vdev_slot *slot, uint32_t line, bool is_high)
{
    slot->rise_count += is_high && !slot->lines[line];
    slot->lines[line] = is_high;
    slot->is_high = slot->lines[0];
}

static uint64_t fake_now_ns(struct vdev_slot *slot)
{
    return slot->now_ns;
}

static uint64_t fake_wall_ns(struct vdev_slot *slot)
{
    return slot->wall_ns;
}

static void fake_timer(struct vdev_slot *slot, uint32_t timer, uint64_t deadline_ns)
{
    slot->deadlines_ns[timer] = deadline_ns;
    slot->deadline_ns = slot->deadlines_ns[0];
}

static void fake_request(struct vdev_slot *slot, enum vdev_request request, uint32_t value)
{
    slot->request_count++;
    slot->request = request;
    slot->request_value = value;
}

void *fake_slot_memory(struct vdev_slot *slot, uint64_t address, uint64_t size)
{
    for (uint32_t i = 0; i < FAKE_MEMORY_MAX; i++) {
        const struct fake_memory *memory = &slot->memory[i];

        if (address >= memory->start && address - memory->start < memory->size &&
            size <= memory->size - (address - memory->start)) {
            return memory->bytes + (address - memory->start);
        }
    }
    return NULL;
}

/* Byte by byte: over borders, too. */
static int copy_memory(struct vdev_slot *slot, uint64_t address, uint8_t *to, const uint8_t *from,
                       uint64_t size)
{
    for (uint64_t i = 0; i < size; i++) {
        if (fake_slot_memory(slot, address + i, 1) == NULL) {
            return -EFAULT;
        }
    }
    for (uint64_t i = 0; i < size; i++) {
        uint8_t *at = fake_slot_memory(slot, address + i, 1);

        if (to != NULL) {
            to[i] = *at;
        } else {
            *at = from[i];
        }
    }
    return 0;
}

static int fake_memory_read(struct vdev_slot *slot, uint64_t address, void *to, uint64_t size)
{
    return copy_memory(slot, address, to, NULL, size);
}

static int fake_memory_write(struct vdev_slot *slot, uint64_t address, const void *from,
                             uint64_t size)
{
    return copy_memory(slot, address, NULL, from, size);
}

static void fake_legacy_route(struct vdev_slot *slot, bool is_taken)
{
    slot->is_legacy_taken = is_taken;
}

static bool fake_firmware_file(struct vdev_slot *slot, uint32_t index,
                               struct vdev_firmware_file *file)
{
    if (index >= slot->file_count) {
        return false;
    }
    (void)snprintf(file->name, sizeof(file->name), "%s", slot->files[index].name);
    file->size = slot->files[index].size;
    return true;
}

static void fake_firmware_read(struct vdev_slot *slot, uint32_t index, uint64_t offset, void *to,
                               uint64_t size)
{
    memset(to, 0, size);
    for (uint64_t i = 0; i < size && offset < slot->files[index].size; i++, offset++) {
        ((uint8_t *)to)[i] = ((const uint8_t *)slot->files[index].bytes)[offset];
    }
}

static int fake_doorbell(struct vdev_slot *slot, uint32_t region, uint64_t offset, uint32_t access,
                         bool has_value, uint64_t value, uint32_t event)
{
    if (slot->doorbell_count == VDEV_EVENTS_MAX) {
        return -E2BIG;
    }
    slot->doorbells[slot->doorbell_count++] =
        (struct fake_doorbell){region, offset, access, has_value, value, event};
    return 0;
}

/* As of the qvm: what nobody opened is not heard. */
static void fake_ring(struct vdev_slot *slot, uint32_t event)
{
    bool is_open = (slot->has_sockets && event == slot->sockets_event) ||
                   (slot->has_backend && event == slot->backend_lost) ||
                   (slot->has_network && event >= slot->network_event &&
                    event - slot->network_event < VDEV_NETWORK_QUEUES_MAX);

    for (uint32_t i = 0; i < slot->doorbell_count; i++) {
        is_open |= slot->doorbells[i].event == event;
    }
    slot->rung |= is_open ? UINT64_C(1) << event : 0;
}

static int fake_pci_function(struct vdev_slot *slot, const struct vdev_pci_function *function)
{
    slot->function = *function;
    for (uint32_t i = 0; i < function->bar_count; i++) {
        slot->bar_rows[i] = function->bars[i];
    }
    for (uint32_t i = 0; i < function->cap_count; i++) {
        slot->cap_rows[i] = function->caps[i];
        memcpy(slot->caps[i], function->caps[i].data, function->caps[i].size);
    }
    slot->function.bars = slot->bar_rows;
    slot->function.caps = slot->cap_rows;
    return 0;
}

static bool fake_vector(struct vdev_slot *slot, uint32_t vector)
{
    if (slot->has_messages && vector < slot->function.vector_count) {
        slot->messages[vector]++;
    }
    return slot->has_messages;
}

static bool fake_has_vectors(struct vdev_slot *slot)
{
    return slot->has_messages;
}

static bool fake_is_master(struct vdev_slot *slot)
{
    return !slot->is_mute;
}

static void fake_message(struct vdev_slot *slot, uint64_t address, uint32_t data)
{
    slot->message_count++;
    slot->message_address = address;
    slot->message_data = data;
}

static void fake_cpu_intr(struct vdev_slot *slot, bool is_high)
{
    slot->is_cpu_intr = is_high;
}

static void fake_watch_vector(struct vdev_slot *slot, uint8_t vector, bool is_watched)
{
    slot->is_watched[vector] = is_watched;
}

static int fake_put(struct vdev_slot *slot, uint32_t tag, enum vdev_field_kind kind,
                    const void *data, size_t size)
{
    return slot->writer != NULL ? fields_put(slot->writer, tag, kind, data, size) : -EINVAL;
}

static int fake_get(struct vdev_slot *slot, uint32_t tag, enum vdev_field_kind kind, void *data,
                    size_t size, uint64_t max)
{
    return slot->reader != NULL ? fields_get(slot->reader, tag, kind, data, size, max, &slot->why)
                                : -EINVAL;
}

const struct vdev_services fake_slot_services = {
    .size = sizeof(fake_slot_services),
    .abi = QVM_VDEV_ABI,
    .fail = fake_fail,
    .log = fake_log,
    .intr = fake_intr,
    .now_ns = fake_now_ns,
    .wall_ns = fake_wall_ns,
    .timer = fake_timer,
    .stream_write = fake_slot_stream_write,
    .stream_resume = fake_slot_stream_resume,
    .port_write = fake_slot_port_write,
    .port_resume = fake_slot_port_resume,
    .request = fake_request,
    .memory_span = fake_slot_memory,
    .memory_read = fake_memory_read,
    .memory_write = fake_memory_write,
    .firmware_file = fake_firmware_file,
    .firmware_read = fake_firmware_read,
    .legacy_route = fake_legacy_route,
    .memory_discard = fake_slot_memory_discard,
    .memory_show = fake_slot_memory_show,
    .doorbell = fake_doorbell,
    .pci_function = fake_pci_function,
    .vector = fake_vector,
    .has_vectors = fake_has_vectors,
    .ring = fake_ring,
    .image = fake_slot_image,
    .image_io = fake_slot_image_io,
    .image_settle = fake_slot_image_settle,
    .image_drop = fake_slot_image_drop,
    .sockets = fake_slot_sockets,
    .socket_next = fake_slot_socket_next,
    .socket_accept = fake_slot_socket_accept,
    .socket_receive = fake_slot_socket_receive,
    .socket_send = fake_slot_socket_send,
    .socket_shut = fake_slot_socket_shut,
    .socket_close = fake_slot_socket_close,
    .socket_connect = fake_slot_socket_connect,
    .image_stop = fake_slot_image_stop,
    .message = fake_message,
    .cpu_intr = fake_cpu_intr,
    .watch_vector = fake_watch_vector,
    .network = fake_slot_network,
    .frame_send = fake_slot_frame_send,
    .frame_receive = fake_slot_frame_receive,
    .backend = fake_slot_backend,
    .backend_config = fake_slot_backend_config,
    .backend_start = fake_slot_backend_start,
    .backend_configure = fake_slot_backend_configure,
    .backend_stop = fake_slot_backend_stop,
    .backend_is_there = fake_slot_backend_is_there,
    .vector_event = fake_slot_vector_event,
    .network_is_up = fake_slot_network_is_up,
    .queue_send = fake_slot_queue_send,
    .queue_receive = fake_slot_queue_receive,
    .is_master = fake_is_master,
    .tap = &fake_slot_tap,
    .put = fake_put,
    .get = fake_get,
};

uint32_t fake_slot_wired_to = QVM_VDEV_NO_INTR;

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
        .intr_count = module->line_count != 0 ? module->line_count : 1,
        .intrs = {fake_slot_wired_to != QVM_VDEV_NO_INTR ? fake_slot_wired_to
                                                         : module->default_intr},
        .cpu_count = 2,
        .ram_below_4g = UINT64_C(3) << 30,
        .ram_above_4g = UINT64_C(5) << 30,
    };

    for (uint32_t i = 1; i < config.intr_count; i++) {
        config.intrs[i] =
            module->default_intrs != NULL ? module->default_intrs[i - 1] : QVM_VDEV_NO_INTR;
    }
    memset(slot->memory, 0, sizeof(slot->memory));
    slot->has_image = false;
    slot->has_network = false;
    slot->has_backend = false;
    return fake_slot_build(slot, module, &config);
}

int fake_slot_build(struct vdev_slot *slot, const struct vdev_module *module,
                    struct vdev_config *config)
{
    struct fake_memory memory[FAKE_MEMORY_MAX];
    struct vdev_image image = slot->image;
    struct vdev_backend backend = slot->backend;
    uint32_t backend_config_size = slot->backend_config_size;
    bool has_image = slot->has_image, has_network = slot->has_network;
    bool has_backend = slot->has_backend, has_sockets = slot->has_sockets;
    bool is_unlinked = slot->is_unlinked, is_kernels = slot->tap.is_required;
    uint64_t kernel = slot->tap.offered;

    memcpy(memory, slot->memory, sizeof(memory));
    memset(slot, 0, sizeof(*slot));
    memcpy(slot->memory, memory, sizeof(memory));
    slot->image = image;
    slot->has_image = has_image;
    slot->has_network = has_network;
    slot->has_backend = has_backend;
    slot->has_sockets = has_sockets;
    slot->backend = backend;
    slot->backend_config_size = backend_config_size;
    slot->is_unlinked = is_unlinked;
    slot->tap.is_required = is_kernels;
    slot->tap.offered = kernel;
    slot->frame_room = UINT32_MAX;
    slot->module = module;
    slot->now_ns = 1000000000;
    slot->wall_ns = UINT64_C(1700000000000000000);
    config->size = sizeof(*config);
    config->name = "fake";
    config->system = "guest";
    return module->ops->create(&fake_slot_services, slot, config, &slot->device);
}

void fake_slot_write(struct vdev_slot *slot, uint32_t region, uint64_t offset, uint32_t size,
                     uint64_t value)
{
    for (uint32_t i = 0; i < slot->doorbell_count; i++) {
        const struct fake_doorbell *bell = &slot->doorbells[i];

        if (bell->region == region && bell->offset == offset &&
            (bell->access == 0 || bell->access == size) &&
            (!bell->has_value || bell->value == value)) {
            slot->module->ops->event(slot->device, bell->event);
            return;
        }
    }
    slot->module->ops->write(slot->device, region, offset, size, value);
}

void fake_slot_run(struct vdev_slot *slot)
{
    for (uint32_t i = 0; i < VDEV_EVENTS_MAX; i++) {
        if ((slot->rung & UINT64_C(1) << i) != 0) {
            slot->rung &= ~(UINT64_C(1) << i);
            slot->module->ops->event(slot->device, i);
        }
    }
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

/* The timer that fires first, not after `end`; VDEV_TIMERS_MAX: none. */
static uint32_t next_timer(const struct vdev_slot *slot, uint64_t end)
{
    uint32_t next = VDEV_TIMERS_MAX;

    for (uint32_t i = 0; i < VDEV_TIMERS_MAX; i++) {
        uint64_t deadline = slot->deadlines_ns[i];

        if (deadline != 0 && deadline <= end &&
            (next == VDEV_TIMERS_MAX || deadline < slot->deadlines_ns[next])) {
            next = i;
        }
    }
    return next;
}

void fake_slot_advance(struct vdev_slot *slot, uint64_t ns)
{
    uint64_t end = slot->now_ns + ns;

    for (uint32_t i; (i = next_timer(slot, end)) != VDEV_TIMERS_MAX;) {
        uint64_t at = slot->deadlines_ns[i];
        uint64_t step = at > slot->now_ns ? at - slot->now_ns : 0;

        slot->now_ns += step;
        slot->wall_ns += step;
        fake_timer(slot, i, 0);
        slot->timer_count++;
        slot->module->ops->timer(slot->device, i);
    }
    slot->wall_ns += end - slot->now_ns;
    slot->now_ns = end;
}

void fake_slot_reset(struct vdev_slot *slot)
{
    for (uint32_t i = 0; i < VDEV_TIMERS_MAX; i++) {
        fake_timer(slot, i, 0);
    }
    for (uint32_t i = 0; i < VDEV_LINES_MAX; i++) {
        fake_intr(slot, i, false);
    }
    slot->module->ops->reset(slot->device);
}

int fake_slot_save(struct vdev_slot *slot, struct fields_writer *writer)
{
    int r;

    writer->now_ns = slot->now_ns;
    slot->writer = writer;
    r = slot->module->ops->save(slot->device);
    slot->writer = NULL;
    return r == 0 && writer->has_failed ? -EINVAL : r;
}

int fake_slot_restore(struct vdev_slot *slot, const uint8_t *bytes, size_t size)
{
    static struct fields_reader reader;
    int r = fields_open(&reader, bytes, size, slot->now_ns, &slot->why);

    fake_slot_reset(slot);
    if (r == 0) {
        slot->reader = &reader;
        r = slot->module->ops->restore(slot->device);
        slot->reader = NULL;
        r = r == 0 && reader.has_failed ? -EINVAL : r;
        r = r == 0 ? fields_close(&reader, &slot->why) : r;
    }
    if (r != 0) {
        fake_slot_reset(slot);
    }
    return r;
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
