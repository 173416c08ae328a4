/* What a device gets from its qvm: struct vdev_services. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "qvm-worker/memory/memory.h"
#include "qvm-worker/pci/pci.h"
#include "qvm-worker/tables/firmware_files.h"
#include "qvm-worker/vdev/backend.h"
#include "qvm-worker/vdev/ports.h"
#include "qvm-worker/vdev/private.h"
#include "qvm-worker/vdev/sockets.h"
#include "qvm-worker/vdev/tap_kernel.h"

#define LOG_TEXT_SIZE 512u

/* Exit statuses that belong to vdevs, and that of a vdev which asks for another. */
#define EXIT_FIRST 32u
#define EXIT_LAST  63u
#define EXIT_WRONG 6u

static int service_fail(struct vdev_slot *slot, const struct vdev_value *value, const char *format,
                        ...)
{
    va_list args;

    va_start(args, format);
    (void)err_vset(slot->words, -EINVAL, format, args);
    va_end(args);
    if (slot->reader != NULL) {
        return -EINVAL; /* no line of the configuration is to blame */
    }
    /* A fallback has no line; the vdev's own helps more. */
    (void)err_prefix(slot->words, "%s: vdev '%s': ",
                     value != NULL && value->where != NULL && strcmp(value->where, "default") != 0
                         ? value->where
                         : slot->where,
                     slot->name);
    return -EINVAL;
}

static void service_log(struct vdev_slot *slot, enum vdev_log_level level, const char *format, ...)
{
    static const enum log_level levels[] = {LOG_error, LOG_warn, LOG_info, LOG_debug};
    char text[LOG_TEXT_SIZE], line[LOG_TEXT_SIZE + VDEV_HOST_NAME_MAX + sizeof("vdev:  device=\n")];
    enum log_level as = LOG_debug;
    va_list args;
    int size;

    /* Once there is a device, the guest makes it talk: debug. */
    if ((unsigned)level < ARRAY_LEN(levels) && slot->device == NULL) {
        as = levels[level];
    }
    if (slot->has_log && (slot->log_set & LOG_BIT(as)) == 0) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args); /* cut when too long */
    va_end(args);
    if (!slot->has_log) {
        log_line(as, "vdev: %s device=%s", text, slot->name);
        return;
    }
    if (slot->log_system != LOG_SYSTEM_COUNT) {
        log_system_line(slot->log_system, as, "vdev: %s device=%s", text, slot->name);
        return;
    }
    if (slot->log_fd < 0) {
        return;
    }
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) {
            *c = '?';
        }
    }
    size = snprintf(line, sizeof(line), "vdev: %s device=%s\n", text, slot->name);
    (void)!write(slot->log_fd, line, (size_t)size); /* nobody to be told; dprintf would lseek */
}

static bool is_line_high(const struct intr_line *line)
{
    return line->high_count > 0 || (line->legacy_count > 0 && !line->is_silenced);
}

/* The line's lock is held. */
static void tell_line(struct vdev_host *host, struct intr_line *line)
{
    bool is_high = is_line_high(line);

    if (line->is_held || line->is_told == is_high) {
        return;
    }
    line->is_told = is_high;
    if (host->env.intr != NULL) {
        host->env.intr(host->env.context, (uint32_t)(line - host->lines), is_high);
    }
}

/* Change what a line's level follows from, and tell if it is another. `count` NULL: whether those
 * of `legacy_count` are silenced. */
static void change_line(struct vdev_host *host, uint32_t gsi, uint32_t *count, bool is_more)
{
    struct intr_line *line = &host->lines[gsi];

    (void)pthread_mutex_lock(&line->lock);
    if (count != NULL) {
        *count = is_more ? *count + 1 : *count - 1;
    } else {
        line->is_silenced = is_more;
    }
    tell_line(host, line);
    (void)pthread_mutex_unlock(&line->lock);
}

#define CLOCK "mc146818"

static bool is_replaced_by_hpet(const struct vdev_slot *slot)
{
    const char *module = slot->loaded->name;

    return strcmp(module, "timer8254") == 0 || strcmp(module, CLOCK) == 0;
}

void vdev_host_legacy_route(struct vdev_slot *slot, bool is_taken)
{
    struct vdev_host *host = slot->host;

    for (uint32_t gsi = 0; gsi < VDEV_HOST_GSI_COUNT; gsi++) {
        change_line(host, gsi, NULL, is_taken);
    }
}

void vdev_host_set_intr(struct vdev_slot *slot, uint32_t line, bool is_high)
{
    struct vdev_host *host = slot->host;
    struct intr_line *shared;

    if (slot->function != NULL && line == 0 && is_high != slot->is_high[0]) {
        slot->is_high[0] = is_high;
        pci_intx(slot->function, is_high);
        return;
    }
    if (line >= slot->intr_count || is_high == slot->is_high[line] ||
        slot->intrs[line] >= VDEV_HOST_GSI_COUNT) {
        return;
    }
    slot->is_high[line] = is_high;
    shared = &host->lines[slot->intrs[line]];
    if (is_high && !shared->is_held && host->env.clock_alarm != NULL &&
        strcmp(slot->loaded->name, CLOCK) == 0) {
        host->env.clock_alarm(host->env.context);
    }
    change_line(host, slot->intrs[line],
                is_replaced_by_hpet(slot) ? &shared->legacy_count : &shared->high_count, is_high);
}

void vdev_host_hold_lines(struct vdev_host *host)
{
    for (uint32_t i = 0; i < VDEV_HOST_GSI_COUNT; i++) {
        (void)pthread_mutex_lock(&host->lines[i].lock);
        host->lines[i].is_held = true;
        (void)pthread_mutex_unlock(&host->lines[i].lock);
    }
}

void vdev_host_release_lines(struct vdev_host *host)
{
    for (uint32_t i = 0; i < VDEV_HOST_GSI_COUNT; i++) {
        (void)pthread_mutex_lock(&host->lines[i].lock);
        host->lines[i].is_held = false;
        tell_line(host, &host->lines[i]);
        (void)pthread_mutex_unlock(&host->lines[i].lock);
    }
}

static void service_request(struct vdev_slot *slot, enum vdev_request request, uint32_t value)
{
    if (request == VDEV_REQUEST_EXIT && (value < EXIT_FIRST || value > EXIT_LAST)) {
        value = EXIT_WRONG;
    }
    if (request == VDEV_REQUEST_STATUS) {
        request = VDEV_REQUEST_EXIT;
        value &= 0xff;
    }
    if (slot->host->env.request_of != NULL) {
        slot->host->env.request_of(slot->host->env.context, slot->where, slot->name, request,
                                   value);
    } else if (slot->host->env.request != NULL) {
        slot->host->env.request(slot->host->env.context, request, value);
    }
}

static void *service_memory_span(struct vdev_slot *slot, uint64_t address, uint64_t size)
{
    const struct memory *memory = slot->host->env.memory;

    return memory != NULL ? memory_span(memory, gpa(address), size) : NULL;
}

static int service_memory_read(struct vdev_slot *slot, uint64_t address, void *to, uint64_t size)
{
    const struct memory *memory = slot->host->env.memory;

    return memory != NULL ? memory_copy_out(memory, gpa(address), to, size) : -EFAULT;
}

static int service_memory_write(struct vdev_slot *slot, uint64_t address, const void *from,
                                uint64_t size)
{
    const struct memory *memory = slot->host->env.memory;

    return memory != NULL ? memory_copy_in(memory, gpa(address), from, size) : -EFAULT;
}

static int service_memory_discard(struct vdev_slot *slot, void *at, uint64_t size)
{
    const struct memory *memory = slot->host->env.memory;

    return memory != NULL && slot->loaded->module.discards_memory ? memory_discard(memory, at, size)
                                                                  : -EINVAL;
}

static const struct firmware_file *find_firmware_file(const struct vdev_slot *slot, uint32_t index)
{
    const struct vdev_host_env *env = &slot->host->env;

    return env->firmware_file != NULL ? env->firmware_file(env->context, index) : NULL;
}

static bool service_firmware_file(struct vdev_slot *slot, uint32_t index,
                                  struct vdev_firmware_file *to)
{
    const struct firmware_file *file = find_firmware_file(slot, index);

    if (file == NULL) {
        return false;
    }
    (void)snprintf(to->name, sizeof(to->name), "%s", file->name);
    to->size = file->size;
    return true;
}

static void service_firmware_read(struct vdev_slot *slot, uint32_t index, uint64_t offset, void *to,
                                  uint64_t size)
{
    const struct firmware_file *file = find_firmware_file(slot, index);
    uint64_t there = file != NULL && offset < file->size ? file->size - offset : 0;

    memset(to, 0, size);
    if (there > 0) {
        memcpy(to, file->bytes + offset, there < size ? there : size);
    }
}

const struct vdev_services vdev_host_services = {
    .size = sizeof(vdev_host_services),
    .abi = QVM_VDEV_ABI,
    .fail = service_fail,
    .log = service_log,
    .intr = vdev_host_set_intr,
    .now_ns = vdev_host_now_ns,
    .wall_ns = vdev_host_wall_ns,
    .timer = vdev_host_set_timer,
    .stream_write = vdev_host_stream_write,
    .stream_resume = vdev_host_stream_resume,
    .request = service_request,
    .pci_function = vdev_host_pci_function,
    .vector = vdev_host_vector,
    .has_vectors = vdev_host_has_vectors,
    .memory_span = service_memory_span,
    .memory_read = service_memory_read,
    .memory_write = service_memory_write,
    .firmware_file = service_firmware_file,
    .firmware_read = service_firmware_read,
    .legacy_route = vdev_host_legacy_route,
    .doorbell = vdev_host_doorbell,
    .ring = vdev_host_ring,
    .image = vdev_host_image,
    .image_io = vdev_host_image_io,
    .image_stop = vdev_host_image_stop,
    .message = vdev_host_message,
    .cpu_intr = vdev_host_cpu_intr,
    .watch_vector = vdev_host_watch_vector,
    .put = vdev_host_put,
    .get = vdev_host_get,
    .vector_event = vdev_host_vector_event,
    .intx_event = vdev_host_intx_event,
    .region_address = vdev_host_region_address,
    .shmem_attach = vdev_host_shmem_attach,
    .shmem_detach = vdev_host_shmem_detach,
    .shmem_show = vdev_host_shmem_show,
    .shmem_notify = vdev_host_shmem_notify,
    .shmem_status = vdev_host_shmem_status,
    .network = vdev_host_network,
    .frame_send = vdev_host_frame_send,
    .frame_receive = vdev_host_frame_receive,
    .image_settle = vdev_host_image_settle,
    .memory_discard = service_memory_discard,
    .backend = vdev_host_backend,
    .backend_config = vdev_host_backend_config,
    .backend_start = vdev_host_backend_start,
    .backend_configure = vdev_host_backend_configure,
    .backend_stop = vdev_host_backend_stop,
    .network_is_up = vdev_host_network_is_up,
    .queue_send = vdev_host_queue_send,
    .queue_receive = vdev_host_queue_receive,
    .image_drop = vdev_host_image_drop,
    .sockets = vdev_host_sockets,
    .socket_next = vdev_host_socket_next,
    .socket_accept = vdev_host_socket_accept,
    .socket_receive = vdev_host_socket_receive,
    .socket_send = vdev_host_socket_send,
    .socket_shut = vdev_host_socket_shut,
    .socket_close = vdev_host_socket_close,
    .socket_connect = vdev_host_socket_connect,
    .is_master = vdev_host_is_master,
    .port_write = vdev_host_port_write,
    .port_resume = vdev_host_port_resume,
    .tap = &vdev_host_tap_services,
    .memory_show = vdev_host_memory_show,
    .backend_is_there = vdev_host_backend_is_there,
};
