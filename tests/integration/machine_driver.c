/* The machine without qvm: a small program for tests that drives machine.h with a serial port of
 * its own on stdin and stdout. Usage:
 *
 *   machine_driver [-c CPUS] [-m MIB] [-i INITRD] [-a CMDLINE] [-r RESETS] [-v] BOOTIMAGE
 *
 * SIGUSR1 shows the state, SIGTERM presses the power button. A guest that asks for a reset is reset
 * RESETS times (default: always), then the program ends. Ends with 0 at power-off, 3 at a crash.
 * On stderr: "MS.US EVENT" lines, counted from the start of the process. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/bus/bus.h"
#include "qvm-worker/machine/machine.h"

#define COM1_PORT  0x3f8
#define COM1_GSI   4
#define INPUT_SIZE 256

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCRATCH };

struct uart {
    pthread_mutex_t mutex;
    struct machine *machine;
    uint8_t ier, lcr, mcr, scratch, dll, dlm, fcr;
    bool thr_empty_pending, is_high;
    uint8_t input[INPUT_SIZE];
    uint32_t head, tail;
    uint64_t written;
};

struct driver {
    struct machine *machine;
    struct uart uart;
    long resets_left;
    int exit_status;
    bool is_over, is_verbose;
};

static void mark(const char *what)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    fprintf(stderr, "%lld.%06ld %s\n", (long long)now.tv_sec, now.tv_nsec / 1000, what);
}

static uint8_t iir(const struct uart *uart)
{
    if ((uart->ier & 1) != 0 && uart->head != uart->tail) {
        return 4;
    }
    return (uart->ier & 2) != 0 && uart->thr_empty_pending ? 2 : 1;
}

static void update_line(struct uart *uart)
{
    bool is_high = iir(uart) != 1 && (uart->mcr & 8) != 0;

    if (is_high != uart->is_high) {
        uart->is_high = is_high;
        machine_intr(uart->machine, COM1_GSI, is_high);
    }
}

static uint8_t uart_read(struct uart *uart, uint64_t offset)
{
    uint8_t value = 0;

    switch (offset) {
    case DATA:
        if ((uart->lcr & 0x80) != 0) {
            value = uart->dll;
        } else if (uart->head != uart->tail) {
            value = uart->input[uart->tail++ % INPUT_SIZE];
        }
        break;
    case IER:
        value = (uart->lcr & 0x80) != 0 ? uart->dlm : uart->ier;
        break;
    case IIR:
        value = iir(uart);
        uart->thr_empty_pending = value == 2 ? false : uart->thr_empty_pending;
        value = (uint8_t)(value | ((uart->fcr & 1) != 0 ? 0xc0 : 0));
        break;
    case LCR:
        value = uart->lcr;
        break;
    case MCR:
        value = uart->mcr;
        break;
    case LSR:
        value = (uint8_t)(0x60 | (uart->head != uart->tail ? 1 : 0));
        break;
    case MSR:
        value = 0xb0;
        break;
    default:
        value = uart->scratch;
        break;
    }
    return value;
}

static void uart_send(struct uart *uart, uint8_t byte)
{
    if (uart->written++ == 0) {
        mark("first byte");
    }
    if (write(STDOUT_FILENO, &byte, 1) != 1) {
        return; /* nobody listens */
    }
}

static void uart_write(struct uart *uart, uint64_t offset, uint8_t value)
{
    bool is_latch = (uart->lcr & 0x80) != 0;

    switch (offset) {
    case DATA:
        if (is_latch) {
            uart->dll = value;
        } else {
            uart_send(uart, value);
            uart->thr_empty_pending = true;
        }
        break;
    case IER:
        if (is_latch) {
            uart->dlm = value;
        } else {
            uart->thr_empty_pending |= (value & 2) != 0 && (uart->ier & 2) == 0;
            uart->ier = value & 15;
        }
        break;
    case IIR:
        uart->fcr = value;
        break;
    case LCR:
        uart->lcr = value;
        break;
    case MCR:
        uart->mcr = value;
        break;
    case SCRATCH:
        uart->scratch = value;
        break;
    default:
        break;
    }
}

static void on_uart(void *device, uint32_t region, uint64_t offset, uint32_t size, uint64_t *value,
                    bool is_write)
{
    struct uart *uart = device;

    (void)region;
    (void)size;
    (void)pthread_mutex_lock(&uart->mutex);
    if (is_write) {
        uart_write(uart, offset, (uint8_t)*value);
    } else {
        *value = uart_read(uart, offset);
    }
    update_line(uart);
    (void)pthread_mutex_unlock(&uart->mutex);
}

static void reset_uart(void *context)
{
    struct uart *uart = context;

    (void)pthread_mutex_lock(&uart->mutex);
    uart->ier = uart->lcr = uart->mcr = uart->fcr = uart->scratch = 0;
    uart->thr_empty_pending = false;
    update_line(uart);
    (void)pthread_mutex_unlock(&uart->mutex);
}

/* Take what fits; the rest stays in the pipe. */
static bool feed_uart(struct uart *uart)
{
    uint8_t bytes[64];
    ssize_t n = 0;

    (void)pthread_mutex_lock(&uart->mutex);
    if (uart->head - uart->tail <= INPUT_SIZE - sizeof(bytes)) {
        n = read(STDIN_FILENO, bytes, sizeof(bytes));
        for (ssize_t i = 0; i < n; i++) {
            uart->input[uart->head++ % INPUT_SIZE] = bytes[i];
        }
        update_line(uart);
    } else {
        n = 1;
    }
    (void)pthread_mutex_unlock(&uart->mutex);
    return n > 0;
}

static void finish(struct driver *driver, int status)
{
    driver->is_over = true;
    driver->exit_status = status;
}

static void on_event(void *context, const struct machine_event *event)
{
    struct driver *driver = context;
    struct err err = {0};

    mark(event->text);
    if (event->kind == MACHINE_EVENT_RESET && driver->resets_left != 0) {
        driver->resets_left--;
        if (machine_reset(driver->machine, &err) != 0) {
            fprintf(stderr, "reset: %s\n", err.msg);
            finish(driver, 65);
        }
        mark("reset done");
        return;
    }
    finish(driver,
           event->kind == MACHINE_EVENT_POWEROFF || event->kind == MACHINE_EVENT_RESET ? 0 : 3);
}

static void show(void *context, const char *name, const char *value)
{
    (void)context;
    fprintf(stderr, "%s: %s\n", name, value);
}

static void on_signal(struct driver *driver, int signal_fd)
{
    struct signalfd_siginfo info;

    if (read(signal_fd, &info, sizeof(info)) != sizeof(info)) {
        return;
    }
    if (info.ssi_signo == SIGUSR1) {
        machine_state(driver->machine, show, NULL);
    } else {
        mark("power button");
        machine_press_power(driver->machine);
    }
}

static void loop(struct driver *driver, int signal_fd)
{
    struct pollfd fds[] = {{machine_event_fd(driver->machine), POLLIN, 0},
                           {signal_fd, POLLIN, 0},
                           {STDIN_FILENO, POLLIN, 0}};

    while (!driver->is_over) {
        /* A full receiver is asked again soon: this is a test's serial port, not a vdev. */
        (void)poll(fds, ARRAY_LEN(fds), -1);
        if ((fds[0].revents & POLLIN) != 0) {
            machine_dispatch(driver->machine);
        }
        if ((fds[1].revents & POLLIN) != 0) {
            on_signal(driver, signal_fd);
        }
        if (fds[2].revents != 0 && !feed_uart(&driver->uart)) {
            fds[2].fd = -1;
        }
    }
}

static int open_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(64);
    }
    return fd;
}

static int make_signal_fd(void)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGUSR1);
    (void)sigaddset(&set, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

static int run(struct driver *driver, const struct machine_spec *spec, struct err *err)
{
    struct machine_device uart = {.name = "the serial port",
                                  .context = &driver->uart,
                                  .reset = reset_uart,
                                  .acpi_hid = "PNP0501",
                                  .ports = {{COM1_PORT, 8}},
                                  .port_count = 1,
                                  .gsi = COM1_GSI};
    int signal_fd = make_signal_fd();
    int r = machine_create(spec, &driver->machine, err);

    if (r == 0) {
        driver->uart.machine = driver->machine;
        r = bus_add(machine_bus(driver->machine), BUS_IO, COM1_PORT, 8, on_uart, &driver->uart, 0,
                    uart.name, err);
    }
    if (r == 0) {
        r = machine_add_device(driver->machine, &uart, err);
    }
    if (r == 0) {
        r = machine_start(driver->machine, err);
    }
    if (r == 0) {
        loop(driver, signal_fd);
        if (driver->is_verbose) {
            machine_state(driver->machine, show, NULL);
        }
    }
    return r;
}

int main(int argc, char **argv)
{
    static struct driver driver = {.resets_left = -1, .uart.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct memory_range ram = {.size = 64ull << 20, .where = "ram:1"};
    struct machine_load loads[2] = {{.where = "load:1"}, {.where = "load:2"}};
    struct machine_spec spec = {.name = "test",
                                .where = "system:1",
                                .cpu_count = 1,
                                .ram = &ram,
                                .ram_count = 1,
                                .loads = loads,
                                .load_count = 1,
                                .cmdline = "console=ttyS0",
                                .cmdline_where = "cmdline:1",
                                .on_event = on_event,
                                .context = &driver};
    struct err err = {0};
    int option;

    while ((option = getopt(argc, argv, "c:m:i:a:r:v")) != -1) {
        switch (option) {
        case 'c':
            spec.cpu_count = (uint32_t)atoi(optarg);
            break;
        case 'm':
            ram.size = (uint64_t)atoll(optarg) << 20;
            break;
        case 'i':
            loads[spec.load_count].kind = MACHINE_LOAD_INITRD;
            loads[spec.load_count].path = optarg;
            loads[spec.load_count++].fd = open_file(optarg);
            break;
        case 'a':
            spec.cmdline = optarg;
            break;
        case 'r':
            driver.resets_left = atol(optarg);
            break;
        case 'v':
            driver.is_verbose = true;
            break;
        default:
            return 64;
        }
    }
    if (optind >= argc) {
        return 64;
    }
    loads[0].path = argv[optind];
    loads[0].fd = open_file(argv[optind]);
    spec.kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (run(&driver, &spec, &err) != 0) {
        fprintf(stderr, "%s\n", err.msg);
        driver.exit_status = 65;
    }
    machine_destroy(driver.machine);
    return driver.exit_status;
}
