/* A back end of vhost-user that answers whatever it likes: all that it will ever say lies in the
 * socket before the front end begins, so nobody waits. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "qvm-worker/vhost/wire.h"
#include "tests/fuzz/fuzz.h"

#define SAID_MAX   8192u
#define QUEUES     3u
#define SPOIL_SIZE 4u

/* What is asked of a back end that has everything, in its order. */
static const uint32_t first_requests[] = {WIRE_GET_FEATURES,  WIRE_GET_PROTOCOL_FEATURES,
                                          WIRE_SET_OWNER,     WIRE_GET_QUEUE_NUM,
                                          WIRE_SET_MEM_TABLE, WIRE_GET_CONFIG,
                                          WIRE_SET_FEATURES};
static const uint32_t queue_requests[] = {
    WIRE_SET_VRING_NUM,  WIRE_SET_VRING_BASE,   WIRE_SET_VRING_ADDR, WIRE_SET_VRING_CALL,
    WIRE_SET_VRING_KICK, WIRE_SET_VRING_ENABLE, WIRE_GET_VRING_BASE, WIRE_SET_CONFIG};

/* The input: what is wrong with which answer, SPOIL_SIZE bytes each, in their order. */
struct input {
    const uint8_t *data;
    size_t size;
    uint8_t number; /* of the next answer */
};

static void spoil(struct input *input, struct wire_message *answer)
{
    while (input->size >= SPOIL_SIZE && input->data[0] == input->number) {
        uint8_t where = input->data[1] % 32;

        ((uint8_t *)answer)[where] = (uint8_t)(input->data[2] ^ (where < 12 ? 0 : input->data[3]));
        input->data += SPOIL_SIZE;
        input->size -= SPOIL_SIZE;
    }
    input->number++;
}

/* A good answer, as far as the input does not make another of it. */
static void say(int fd, struct input *input, uint32_t request, uint32_t queue)
{
    struct wire_message answer = wire_message(request, sizeof(uint64_t));
    size_t size;

    answer.header.flags |= WIRE_REPLY;
    if (request == WIRE_GET_FEATURES || request == WIRE_GET_PROTOCOL_FEATURES) {
        answer.payload.number = UINT64_MAX;
    } else if (request == WIRE_GET_QUEUE_NUM) {
        answer.payload.number = QUEUES;
    } else if (request == WIRE_GET_VRING_BASE) {
        answer.payload.state.index = queue;
    } else if (request == WIRE_GET_CONFIG) {
        answer.header.size = WIRE_CONFIG_HEAD + VHOST_CONFIG_MAX;
    }
    size = sizeof(answer.header) + answer.header.size; /* before it is spoilt */
    spoil(input, &answer);
    if (write(fd, &answer, size) < 0) {
        abort();
    }
}

static void say_all(int fd, struct input input)
{
    for (size_t i = 0; i < sizeof(first_requests) / sizeof(first_requests[0]); i++) {
        say(fd, &input, first_requests[i], 0);
    }
    for (uint32_t queue = 0; queue < QUEUES; queue++) {
        for (size_t i = 0; i < sizeof(queue_requests) / sizeof(queue_requests[0]); i++) {
            say(fd, &input, queue_requests[i], queue);
        }
    }
    if (input.size > 0 && write(fd, input.data, input.size) < 0) { /* and whatever else */
        abort();
    }
}

/* All that a device does. */
static void use(struct vhost *vhost)
{
    const struct vhost_region region = {.size = 4096};
    uint8_t config[VHOST_CONFIG_MAX];
    uint16_t base = 0;
    int r = vhost_set_memory(vhost, &region, 1, 0);

    (void)vhost_read_config(vhost, config, sizeof(config));
    (void)vhost_set_features(vhost, 0);
    for (uint32_t i = 0; r == 0 && i < QUEUES; i++) {
        const struct vhost_queue queue = {.index = i, .size = 16, .kick_fd = 0, .call_fd = 0};

        r = vhost_start(vhost, &queue);
        r = r == 0 ? vhost_stop(vhost, i, &base) : r;
        (void)vhost_write_config(vhost, i, config, 1);
    }
    if (r != 0 && !vhost->is_lost) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vhost vhost;
    int fds[2];

    if (size > SAID_MAX || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
        return 0;
    }
    say_all(fds[1], (struct input){data, size, 0});
    (void)shutdown(fds[1], SHUT_WR);
    if (vhost_init(&vhost, fds[0], NULL) == 0) {
        if (vhost.queue_count > VHOST_QUEUES_MAX) {
            abort();
        }
        use(&vhost);
        vhost_fini(&vhost);
    }
    (void)close(fds[1]);
    return 0;
}
