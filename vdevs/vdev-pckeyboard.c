/* The keyboard controller of PCs, an Intel 8042, with a keyboard on which `qvmctl sendkey` types.
 *
 * "PS/2 reference" is IBM's "Personal System/2 Hardware Interface Technical Reference", S68X-2330,
 * May 1988, chapters "Keyboard and Auxiliary Device Controller" and "Keyboards (101- and 102-Key)";
 * headings are quoted. It is enough for a guest that looks for its keyboard, and for one that
 * resets the machine. At the auxiliary port there is nothing, and the controller says so.
 *
 * There is no firmware: after a reset the controller is as a PC's leaves it. */
#include "vdevs/pckeyboard.h"

#include <stdio.h>
#include <stdlib.h>

#include "vdevs/pckeyboard_keys.h"

#define DATA_REGION    0u /* port 0x60 */
#define CONTROL_REGION 1u /* port 0x64 */

/* "Status Register" */
#define STATUS_OBF      0x01u /* output buffer full */
#define STATUS_SYSTEM   0x04u
#define STATUS_COMMAND  0x08u /* the last write went to port 0x64 */
#define STATUS_UNLOCKED 0x10u
#define STATUS_AUX      0x20u /* the output is the auxiliary device's */
#define STATUS_TIMEOUT  0x40u

/* "Controller Command Byte": byte 0 of the controller's RAM */
#define BYTE_KEYBOARD_INTR 0x01u
#define BYTE_SYSTEM        0x04u
#define BYTE_KEYBOARD_OFF  0x10u
#define BYTE_TRANSLATE     0x40u
#define BYTE_AT_START      (BYTE_KEYBOARD_INTR | BYTE_SYSTEM | BYTE_AUX_OFF | BYTE_TRANSLATE)

/* "Controller Commands" */
#define COMMAND_READ_RAM      0x20u /* to 0x3f */
#define COMMAND_WRITE_RAM     0x60u /* to 0x7f */
#define COMMAND_PASSWORD_TEST 0xa4u
#define COMMAND_AUX_OFF       0xa7u
#define COMMAND_AUX_ON        0xa8u
#define COMMAND_AUX_TEST      0xa9u
#define COMMAND_SELF_TEST     0xaau
#define COMMAND_KEYBOARD_TEST 0xabu
#define COMMAND_KEYBOARD_OFF  0xadu
#define COMMAND_KEYBOARD_ON   0xaeu
#define COMMAND_READ_INPUT    0xc0u
#define COMMAND_READ_OUTPUT   0xd0u
#define COMMAND_WRITE_OUTPUT  0xd1u
#define COMMAND_WRITE_OBF     0xd2u
#define COMMAND_AUX_LOOP      0xd3u /* as if the auxiliary device had sent it */
#define COMMAND_WRITE_AUX     0xd4u
#define COMMAND_A20_OFF       0xddu /* of most compatible controllers */
#define COMMAND_A20_ON        0xdfu
#define COMMAND_PULSE         0xf0u /* to 0xff: low bits that are 0 pulse output port lines */

#define SELF_TEST_OK     0x55u
#define KEYBOARD_TEST_OK 0x00u
#define AUX_TEST_FAILED  0x02u /* the clock line is stuck high */
#define NO_PASSWORD      0xf1u
#define INPUT_UNLOCKED   0x80u

#define OUTPUT_OBF 0x10u /* of the output port */

/* "Commands from the System" (to the keyboard) and "Commands to the System" */
#define KEYBOARD_LEDS       0xedu
#define KEYBOARD_ECHO       0xeeu
#define KEYBOARD_SCAN_SET   0xf0u
#define KEYBOARD_IDENTIFY   0xf2u
#define KEYBOARD_RATE       0xf3u
#define KEYBOARD_ENABLE     0xf4u
#define KEYBOARD_DISABLE    0xf5u
#define KEYBOARD_DEFAULT    0xf6u
#define KEYBOARD_KEYS_FIRST 0xf7u /* to 0xfa: all keys typematic, make, ... */
#define KEYBOARD_KEYS_LAST  0xfau
#define KEYBOARD_RESEND     0xfeu
#define KEYBOARD_RESET      0xffu
#define KEYBOARD_ACK        0xfau
#define KEYBOARD_BAT_OK     0xaau
#define KEYBOARD_ID_1       0xabu
#define KEYBOARD_ID_2       0x83u

static void push(struct queue *queue, uint8_t byte, uint8_t status)
{
    uint32_t at = (queue->first + queue->count) % QUEUE_SIZE;

    if (queue->count < QUEUE_SIZE) {
        queue->bytes[at] = byte;
        queue->status[at] = status;
        queue->count++;
    }
}

static void pop(struct queue *queue)
{
    queue->first = (queue->first + 1) % QUEUE_SIZE;
    queue->count--;
}

/* The controller does not show the byte that announces a release: the next one tells it. */
static void drop_release(struct pckeyboard *kbd)
{
    struct queue *queue = &kbd->keyboard;

    if ((kbd->ram[0] & BYTE_TRANSLATE) != 0 && queue->count > 0 &&
        queue->bytes[queue->first] == KEY_RELEASE) {
        kbd->is_release = true;
        pop(queue);
    }
}

/* Move the next byte into the output buffer if that is empty. */
static void fill_output(struct pckeyboard *kbd)
{
    struct queue *queue = &kbd->replies;

    if ((kbd->output_status & STATUS_OBF) != 0) {
        return;
    }
    if (queue->count == 0 && (kbd->ram[0] & BYTE_KEYBOARD_OFF) == 0) {
        queue = &kbd->keyboard;
        drop_release(kbd);
    }
    if (queue->count == 0) {
        return;
    }
    kbd->output = queue->bytes[queue->first];
    kbd->output_status = STATUS_OBF | queue->status[queue->first];
    if (queue == &kbd->keyboard) {
        kbd->keyboard_sent = kbd->output;
        if ((kbd->ram[0] & BYTE_TRANSLATE) != 0) {
            kbd->output = pckeyboard_translate(kbd->output, kbd->is_release);
            kbd->is_release = false;
        }
    }
    pop(queue);
}

void pckeyboard_update(struct pckeyboard *kbd)
{
    fill_output(kbd);
    kbd->host->intr(kbd->slot, 0,
                    (kbd->output_status & (STATUS_OBF | STATUS_AUX)) == STATUS_OBF &&
                        (kbd->ram[0] & BYTE_KEYBOARD_INTR) != 0);
}

static void reply(struct pckeyboard *kbd, uint8_t byte)
{
    push(&kbd->replies, byte, 0);
}

static void write_output_port(struct pckeyboard *kbd, uint8_t value)
{
    kbd->output_port = value & (OUTPUT_NO_RESET | OUTPUT_A20);
    if ((value & OUTPUT_NO_RESET) == 0) {
        kbd->output_port |= OUTPUT_NO_RESET;
        kbd->host->request(kbd->slot, VDEV_REQUEST_RESET, 0);
    }
}

/* A command that was waiting for its data got it. */
static void finish_command(struct pckeyboard *kbd, uint8_t value)
{
    uint8_t command = kbd->command;

    kbd->command = 0;
    if (command == COMMAND_WRITE_RAM) {
        kbd->ram[0] = value | BYTE_AUX_OFF;
    } else if (command > COMMAND_WRITE_RAM && command < COMMAND_WRITE_RAM + RAM_SIZE) {
        kbd->ram[command % RAM_SIZE] = value;
    } else if (command == COMMAND_WRITE_OUTPUT) {
        write_output_port(kbd, value);
    } else if (command == COMMAND_WRITE_OBF || command == COMMAND_AUX_LOOP) {
        reply(kbd, value); /* without an auxiliary port nothing is said to come from it */
    } else if (command == COMMAND_WRITE_AUX) {
        push(&kbd->replies, KEYBOARD_RESEND, STATUS_AUX | STATUS_TIMEOUT);
    }
}

static void keyboard_default(struct pckeyboard *kbd)
{
    kbd->keyboard_command = 0;
    kbd->scan_set = 2;
    kbd->rate = 0x2b; /* "Set Typematic Rate/Delay": 10.9 a second after 500 ms */
    kbd->is_scanning = true;
}

static void answer(struct pckeyboard *kbd, uint8_t byte)
{
    push(&kbd->keyboard, byte, 0);
}

/* The second byte of a keyboard's command. */
static void finish_keyboard_command(struct pckeyboard *kbd, uint8_t value)
{
    uint8_t command = kbd->keyboard_command;

    kbd->keyboard_command = 0;
    if (command == KEYBOARD_SCAN_SET && value > 3) {
        answer(kbd, KEYBOARD_RESEND);
        return;
    }
    answer(kbd, KEYBOARD_ACK);
    if (command == KEYBOARD_LEDS) {
        kbd->leds = value & 7;
    } else if (command == KEYBOARD_RATE) {
        kbd->rate = value & 0x7f;
    } else if (value == 0) {
        answer(kbd, kbd->scan_set);
    } else {
        kbd->scan_set = value;
    }
}

static void start_keyboard_command(struct pckeyboard *kbd, uint8_t value)
{
    switch (value) {
    case KEYBOARD_LEDS:
    case KEYBOARD_SCAN_SET:
    case KEYBOARD_RATE:
        kbd->keyboard_command = value;
        break;
    case KEYBOARD_ECHO:
        answer(kbd, KEYBOARD_ECHO);
        return;
    case KEYBOARD_ENABLE:
        kbd->is_scanning = true;
        break;
    case KEYBOARD_DISABLE:
        keyboard_default(kbd);
        kbd->is_scanning = false;
        break;
    case KEYBOARD_DEFAULT:
        keyboard_default(kbd);
        break;
    case KEYBOARD_IDENTIFY:
        answer(kbd, KEYBOARD_ACK);
        answer(kbd, KEYBOARD_ID_1);
        answer(kbd, KEYBOARD_ID_2);
        return;
    case KEYBOARD_RESEND:
        answer(kbd, kbd->keyboard_sent);
        return;
    case KEYBOARD_RESET:
        keyboard_default(kbd);
        kbd->leds = 0;
        answer(kbd, KEYBOARD_ACK);
        answer(kbd, KEYBOARD_BAT_OK);
        return;
    default:
        if (value < KEYBOARD_KEYS_FIRST || value > KEYBOARD_KEYS_LAST) {
            answer(kbd, KEYBOARD_RESEND);
            return;
        }
    }
    answer(kbd, KEYBOARD_ACK);
}

static void write_data(struct pckeyboard *kbd, uint8_t value)
{
    kbd->was_command = false;
    if (kbd->command != 0) {
        finish_command(kbd, value);
        return;
    }
    kbd->ram[0] &= (uint8_t)~BYTE_KEYBOARD_OFF; /* talking to the keyboard switches it on */
    if (kbd->keyboard_command != 0 && value < KEYBOARD_LEDS) {
        finish_keyboard_command(kbd, value);
    } else {
        kbd->keyboard_command = 0; /* a new command instead of the data */
        start_keyboard_command(kbd, value);
    }
}

/* "Controller Commands", those that answer or act at once. */
static void start_command(struct pckeyboard *kbd, uint8_t value)
{
    switch (value) {
    case COMMAND_PASSWORD_TEST:
        reply(kbd, NO_PASSWORD);
        break;
    case COMMAND_AUX_TEST:
        reply(kbd, AUX_TEST_FAILED);
        break;
    case COMMAND_SELF_TEST:
        kbd->ram[0] =
            (kbd->ram[0] & BYTE_TRANSLATE) | BYTE_SYSTEM | BYTE_KEYBOARD_OFF | BYTE_AUX_OFF;
        reply(kbd, SELF_TEST_OK);
        break;
    case COMMAND_KEYBOARD_TEST:
        reply(kbd, KEYBOARD_TEST_OK);
        break;
    case COMMAND_KEYBOARD_OFF:
        kbd->ram[0] |= BYTE_KEYBOARD_OFF;
        break;
    case COMMAND_KEYBOARD_ON:
        kbd->ram[0] &= (uint8_t)~BYTE_KEYBOARD_OFF;
        break;
    case COMMAND_READ_INPUT:
        reply(kbd, INPUT_UNLOCKED);
        break;
    case COMMAND_READ_OUTPUT:
        reply(kbd, kbd->output_port | ((kbd->output_status & STATUS_OBF) != 0 ? OUTPUT_OBF : 0));
        break;
    case COMMAND_A20_OFF:
    case COMMAND_A20_ON:
        write_output_port(kbd, OUTPUT_NO_RESET | (value == COMMAND_A20_ON ? OUTPUT_A20 : 0));
        break;
    default: /* COMMAND_AUX_OFF, COMMAND_AUX_ON and unknown ones do nothing */
        break;
    }
}

static void write_command(struct pckeyboard *kbd, uint8_t value)
{
    kbd->was_command = true;
    kbd->command = 0;
    if (value >= COMMAND_READ_RAM && value < COMMAND_READ_RAM + RAM_SIZE) {
        reply(kbd, kbd->ram[value % RAM_SIZE]);
    } else if ((value >= COMMAND_WRITE_RAM && value < COMMAND_WRITE_RAM + RAM_SIZE) ||
               (value >= COMMAND_WRITE_OUTPUT && value <= COMMAND_WRITE_AUX)) {
        kbd->command = value;
    } else if (value < COMMAND_PULSE) {
        start_command(kbd, value);
    } else if ((value & OUTPUT_NO_RESET) == 0) {
        kbd->host->request(kbd->slot, VDEV_REQUEST_RESET, 0);
    }
}

static uint64_t pckeyboard_read(void *device, uint32_t region, uint64_t offset, uint32_t size)
{
    struct pckeyboard *kbd = device;
    uint8_t value;

    (void)offset; /* each region is one port: the access is one byte of it */
    (void)size;
    if (region == CONTROL_REGION) {
        return kbd->output_status | STATUS_UNLOCKED |
               ((kbd->ram[0] & BYTE_SYSTEM) != 0 ? STATUS_SYSTEM : 0) |
               (kbd->was_command ? STATUS_COMMAND : 0);
    }
    value = kbd->output;
    kbd->output_status = 0;
    kbd->host->intr(kbd->slot, 0, false); /* an edge for each byte */
    pckeyboard_update(kbd);
    return value;
}

static void pckeyboard_write(void *device, uint32_t region, uint64_t offset, uint32_t size,
                             uint64_t value)
{
    struct pckeyboard *kbd = device;

    (void)offset; /* as above */
    (void)size;
    if (region == CONTROL_REGION) {
        write_command(kbd, (uint8_t)value);
    } else {
        write_data(kbd, (uint8_t)value);
    }
    pckeyboard_update(kbd);
}

/* A key that finds no room is not typed, so that none is pressed without being released. */
static bool pckeyboard_key(void *device, uint16_t key, bool is_down)
{
    struct pckeyboard *kbd = device;
    uint8_t bytes[KEY_BYTES_MAX];
    uint32_t count = pckeyboard_key_bytes(key, is_down, kbd->scan_set, bytes);

    if (count > QUEUE_SIZE - kbd->keyboard.count) {
        return false;
    }
    for (uint32_t i = 0; i < count && kbd->is_scanning; i++) {
        answer(kbd, bytes[i]);
    }
    kbd->keys += count > 0 && kbd->is_scanning ? 1 : 0;
    pckeyboard_update(kbd);
    return true;
}

static void pckeyboard_reset(void *device)
{
    struct pckeyboard *kbd = device;
    const struct vdev_services *host = kbd->host;
    struct vdev_slot *slot = kbd->slot;

    *kbd = (struct pckeyboard){.host = host, .slot = slot};
    kbd->ram[0] = BYTE_AT_START;
    kbd->output_port = OUTPUT_NO_RESET | OUTPUT_A20;
    keyboard_default(kbd);
    pckeyboard_update(kbd);
}

static int pckeyboard_create(const struct vdev_services *host, struct vdev_slot *slot,
                             const struct vdev_config *config, void **device)
{
    struct pckeyboard *kbd;

    if (config->regions[DATA_REGION].size != 1 || config->regions[CONTROL_REGION].size != 1) {
        return host->fail(slot, NULL, "the keyboard controller has two places of 1 byte each");
    }
    kbd = calloc(1, sizeof(*kbd));
    if (kbd == NULL) {
        return host->fail(slot, NULL, "no memory");
    }
    kbd->host = host;
    kbd->slot = slot;
    pckeyboard_reset(kbd);
    *device = kbd;
    return 0;
}

static void pckeyboard_state(void *device, vdev_state_fn add, void *context)
{
    const struct pckeyboard *kbd = device;
    char text[64];

    (void)snprintf(text, sizeof(text), "%02x", kbd->ram[0]);
    add(context, "command-byte", text);
    add(context, "a20", (kbd->output_port & OUTPUT_A20) != 0 ? "on" : "off");
    (void)snprintf(text, sizeof(text), "%u", kbd->leds);
    add(context, "leds", text);
    (void)snprintf(text, sizeof(text), "%u, %s, %llu keys", kbd->scan_set,
                   kbd->is_scanning ? "scanning" : "not scanning", (unsigned long long)kbd->keys);
    add(context, "scan-set", text);
}

static const struct vdev_option options[] = {
    {.name = NULL},
};

static const struct vdev_region default_regions[] = {
    [DATA_REGION] = {.space = VDEV_SPACE_IO, .start = 0x60, .size = 1},
    [CONTROL_REGION] = {.space = VDEV_SPACE_IO, .start = 0x64, .size = 1},
};

static const struct vdev_ops ops = {
    .size = sizeof(ops),
    .create = pckeyboard_create,
    .destroy = free,
    .reset = pckeyboard_reset,
    .read = pckeyboard_read,
    .write = pckeyboard_write,
    .state = pckeyboard_state,
    .save = pckeyboard_save,
    .restore = pckeyboard_restore,
    .key = pckeyboard_key,
};

static const struct vdev_module module = {
    .size = sizeof(module),
    .abi = QVM_VDEV_ABI,
    .name = "pckeyboard",
    .doc = "keyboard controller (8042) with a keyboard",
    .options = options,
    .default_regions = default_regions,
    .default_region_count = 2,
    .default_intr = 1,
    .acpi_hid = "PNP0303",
    .ops = &ops,
};

QVM_VDEV_EXPORT(module);
