/* lab-ask WORD [ARGUMENT...]: ask the runner outside for something and print its answer.
 *
 * The request is the line `ID WORD ARGUMENT...`, the answer the line `ID ok SIZE` or
 * `ID fail SIZE` and SIZE bytes of text. Exit status: 0 ok, 1 refused, 2 no answer. */
#include "tests/lab/inside/port.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { LINE_SIZE_MAX = 4096 };

static const char LOCK[] = "/run/lab/ask.lock"; /* the port can be open only once */

/* Read up to the end of the line, which is cut off. Returns false when there is no more. */
static bool read_line(int fd, char *line, size_t size)
{
    size_t used = 0;

    while (used + 1 < size && read(fd, line + used, 1) == 1) {
        if (line[used] == '\n') {
            line[used] = '\0';
            return true;
        }
        used++;
    }
    return false;
}

/* Read `size` bytes of text, and print them if `is_wanted`. */
static bool read_text(int fd, size_t size, bool is_wanted)
{
    char byte;

    for (; size > 0; size--) {
        if (read(fd, &byte, 1) != 1) {
            return false;
        }
        if (is_wanted) {
            (void)putchar(byte);
        }
    }
    return true;
}

/* Skip answers to those who did not wait for them, print ours. Returns the exit status. */
static int read_answer(int fd, long id)
{
    char line[LINE_SIZE_MAX];
    char verdict[8];
    size_t size = 0;
    long whose = -1;

    while (whose != id) {
        if (!read_line(fd, line, sizeof(line)) ||
            sscanf(line, "%ld %7s %zu", &whose, verdict, &size) != 3 ||
            !read_text(fd, size, whose == id)) {
            (void)fprintf(stderr, "lab-ask: the runner does not answer\n");
            return 2;
        }
    }
    return strcmp(verdict, "ok") == 0 ? 0 : 1;
}

static bool write_request(int fd, long id, char **words)
{
    char line[LINE_SIZE_MAX];
    size_t used = (size_t)snprintf(line, sizeof(line), "%ld", id);

    for (; *words != NULL; words++) {
        int size = snprintf(line + used, sizeof(line) - used, " %s", *words);

        if (size < 0 || (size_t)size + 1 >= sizeof(line) - used || strchr(*words, '\n') != NULL) {
            (void)fprintf(stderr, "lab-ask: the request is too long or has two lines\n");
            return false;
        }
        used += (size_t)size;
    }
    line[used++] = '\n';
    return port_write(fd, line, used) == 0;
}

int main(int argc, char **argv)
{
    int lock = open(LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int fd;

    if (argc < 2) {
        (void)fprintf(stderr, "usage: lab-ask WORD [ARGUMENT...]\n");
        return 2;
    }
    if (lock < 0 || flock(lock, LOCK_EX) < 0) {
        perror(LOCK);
        return 2;
    }
    fd = port_open("lab.ask");
    if (fd < 0) {
        (void)fprintf(stderr, "lab-ask: no port lab.ask: %s\n", strerror(-fd));
        return 2;
    }
    return write_request(fd, getpid(), argv + 1) ? read_answer(fd, getpid()) : 2;
}
