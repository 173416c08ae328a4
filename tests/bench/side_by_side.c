/* Run commands alternately and compare medians: how long until TEXT stands in the output, and how
 * much CPU time and memory the process has used then.
 *
 *   side_by_side [-n ROUNDS] [-t TEXT [-f] | -x] [-s SECONDS] -- COMMAND... [-- COMMAND...]...
 *
 * -t TEXT  wait for TEXT on the command's standard output (default: any first byte), then SIGKILL
 * -f       tell the time from the first byte to TEXT, too, in two columns of its own
 * -x       wait for the command's end instead
 * -s       give up on a run after so many seconds (default 60)
 * Time is CLOCK_MONOTONIC from just before the spawn, for all commands in the same way; each round
 * begins with another command, so that nobody always follows the same one. CPU is the time that all
 * threads of the process have had, in user and in kernel mode: a busy machine changes it little.
 * PSS is of /proc/PID/smaps_rollup; the guest RAM in it is what the guest touched. RATIO compares
 * with the first command. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COMMANDS_MAX 8
#define ROUNDS_MAX   101
#define OUTPUT_MAX   (1 << 20)

struct options {
    int rounds;
    const char *text;
    bool from_first_byte;
    bool until_exit;
    int seconds;
};

struct command {
    char **argv;
    double ms[ROUNDS_MAX];
    double after_first_ms[ROUNDS_MAX]; /* from the first byte on */
    double cpu_ms[ROUNDS_MAX];
    double pss_kib[ROUNDS_MAX];
};

extern char **environ;

/* 0 for a clock that is gone. */
static double read_clock_ms(clockid_t clock)
{
    struct timespec t = {0};

    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double now_ms(void)
{
    return read_clock_ms(CLOCK_MONOTONIC);
}

/* What a process that lives has had. */
static double read_cpu_ms(pid_t pid)
{
    clockid_t clock;

    return clock_getcpuclockid(pid, &clock) == 0 ? read_clock_ms(clock) : 0;
}

static double rusage_ms(const struct rusage *usage)
{
    return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1e3 +
           (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e3;
}

static __attribute__((noreturn)) void die(const char *what)
{
    (void)fprintf(stderr, "side_by_side: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double read_pss(pid_t pid)
{
    char path[64], line[256];
    double kib = 0;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "Pss:", 4) == 0) {
            kib = strtod(line + 4, NULL);
        }
    }
    if (file != NULL) {
        (void)fclose(file); /* read only */
    }
    return kib;
}

/* Read until `text` (NULL: one byte) or, with until_exit, the end; `first` is when the first byte
 * came. False: neither came in time. */
static bool wait_for(int fd, const struct options *options, double deadline, double *first)
{
    static char seen[OUTPUT_MAX + 1];
    size_t used = 0;

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        double left = deadline - now_ms();
        ssize_t n;

        if (left <= 0 || poll(&p, 1, (int)left + 1) <= 0) {
            return false;
        }
        n = read(fd, seen + used, OUTPUT_MAX - used);
        if (n <= 0) {
            return options->until_exit;
        }
        *first = used == 0 ? now_ms() : *first;
        used = options->until_exit ? 0 : used + (size_t)n;
        seen[used] = '\0';
        if (!options->until_exit && (options->text == NULL || strstr(seen, options->text))) {
            return true;
        }
    }
}

/* Start it with its output in a pipe, whose other end is returned. */
static int spawn(const struct command *command, pid_t *pid, double *start)
{
    posix_spawn_file_actions_t actions;
    int out[2];

    if (pipe2(out, O_CLOEXEC) != 0 || posix_spawn_file_actions_init(&actions) != 0) {
        die("pipe");
    }
    if (posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0) != 0 ||
        posix_spawn_file_actions_adddup2(&actions, out[1], 1) != 0) {
        die("file actions");
    }
    *start = now_ms();
    errno = posix_spawnp(pid, command->argv[0], &actions, NULL, command->argv, environ);
    if (errno != 0) {
        die(command->argv[0]);
    }
    (void)close(out[1]);
    (void)posix_spawn_file_actions_destroy(&actions);
    return out[0];
}

static void run(struct command *command, int round, const struct options *options)
{
    double start, first = 0;
    struct rusage usage = {0};
    pid_t pid;
    int out = spawn(command, &pid, &start);

    if (!wait_for(out, options, start + options->seconds * 1e3, &first)) {
        (void)kill(pid, SIGKILL);
        (void)fprintf(stderr, "side_by_side: '%s' did not get there\n", command->argv[0]);
        exit(1);
    }
    command->ms[round] = now_ms() - start;
    command->cpu_ms[round] = read_cpu_ms(pid);
    command->after_first_ms[round] = start + command->ms[round] - first;
    command->pss_kib[round] = read_pss(pid);
    if (!options->until_exit) {
        (void)kill(pid, SIGKILL);
    }
    /* Of one that ended by itself no clock is left. */
    if (wait4(pid, NULL, 0, &usage) == pid &&
        (options->until_exit || command->cpu_ms[round] == 0)) {
        command->cpu_ms[round] = rusage_ms(&usage);
    }
    (void)close(out);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof(*values), compare);
    return values[count / 2];
}

static double ratio(double value, double first)
{
    return first > 0 ? value / first : 0;
}

static void report(struct command *commands, int count, const struct options *options)
{
    double first_ms = 0, first_cpu = 0, first_pss = 0, first_after = 0;
    int rounds = options->rounds;

    printf("%-28s %10s %10s %10s %8s %10s %8s %10s %8s%s\n", "COMMAND", "MEDIAN ms", "MIN ms",
           "MAX ms", "RATIO", "CPU ms", "RATIO", "PSS KiB", "RATIO",
           options->from_first_byte ? "  1ST BYTE ON    RATIO" : "");
    for (int i = 0; i < count; i++) {
        struct command *c = &commands[i];
        double ms = median(c->ms, rounds);
        double cpu = median(c->cpu_ms, rounds);
        double pss = median(c->pss_kib, rounds);
        double after = median(c->after_first_ms, rounds);
        const char *name = strrchr(c->argv[0], '/');

        first_ms = i == 0 ? ms : first_ms;
        first_cpu = i == 0 ? cpu : first_cpu;
        first_pss = i == 0 ? pss : first_pss;
        first_after = i == 0 ? after : first_after;
        printf("%-28s %10.2f %10.2f %10.2f %8.3f %10.2f %8.3f %10.0f %8.3f",
               name != NULL ? name + 1 : c->argv[0], ms, c->ms[0], c->ms[rounds - 1],
               ratio(ms, first_ms), cpu, ratio(cpu, first_cpu), pss, ratio(pss, first_pss));
        if (options->from_first_byte) {
            printf("  %11.2f %8.3f", after, ratio(after, first_after));
        }
        printf("\n");
    }
}

/* Cut the arguments at each "--"; returns how many commands there are. */
static int split(int argc, char **argv, struct command *commands)
{
    int count = 0;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            argv[i] = NULL;
        } else if (i == 0 || argv[i - 1] == NULL) {
            if (count == COMMANDS_MAX) {
                errno = E2BIG;
                die("commands");
            }
            commands[count++].argv = &argv[i];
        }
    }
    return count;
}

int main(int argc, char **argv)
{
    static struct command commands[COMMANDS_MAX];
    struct options options = {.rounds = 11, .seconds = 60};
    int count, c;

    while ((c = getopt(argc, argv, "+n:t:fxs:")) != -1) {
        switch (c) {
        case 'n':
            options.rounds = atoi(optarg);
            break;
        case 't':
            options.text = optarg;
            break;
        case 'f':
            options.from_first_byte = true;
            break;
        case 'x':
            options.until_exit = true;
            break;
        case 's':
            options.seconds = atoi(optarg);
            break;
        default:
            return 2;
        }
    }
    count = split(argc - optind, argv + optind, commands);
    if (count == 0 || options.rounds < 1 || options.rounds > ROUNDS_MAX) {
        (void)fprintf(stderr, "usage: side_by_side [-n ROUNDS] [-t TEXT [-f] | -x] [-s SECONDS] "
                              "-- COMMAND... [-- COMMAND...]...\n");
        return 2;
    }
    for (int round = 0; round < options.rounds; round++) {
        for (int i = 0; i < count; i++) {
            run(&commands[(i + round) % count], round, &options);
        }
    }
    report(commands, count, &options);
    return 0;
}
