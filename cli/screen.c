/* A full screen at a terminal. */
#include "cli/screen.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/terminal.h"
#include "cli/text.h"

#define ROWS_DEFAULT    24
#define COLUMNS_DEFAULT 80

/* ECMA-48 and what every terminal of the last decades knows: the other screen, the cursor. */
#define ENTER   "\033[?1049h\033[?25l\033[H\033[2J"
#define LEAVE   "\033[?25h\033[?1049l"
#define HOME    "\033[H"
#define LINE    "\033[K\r\n"
#define REST    "\033[J"
#define REVERSE "\033[7m"
#define NORMAL  "\033[0m"

int screen_enter(struct screen *screen, struct err *err)
{
    int r = terminal_raw(STDIN_FILENO, err);

    if (r == 0) {
        terminal_say_at_end(STDOUT_FILENO, LEAVE);
        r = write(STDOUT_FILENO, ENTER, strlen(ENTER)) < 0 ? -EIO : 0;
    }
    screen->is_plain = false;
    return r;
}

void screen_leave(void)
{
    terminal_restore();
}

int screen_begin(struct screen *screen)
{
    struct winsize size = {0};

    screen->rows = ROWS_DEFAULT;
    screen->columns = COLUMNS_DEFAULT;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0) {
        screen->rows = size.ws_row;
        screen->columns = size.ws_col;
    }
    screen->columns = screen->columns < SCREEN_WIDTH_MAX ? screen->columns : SCREEN_WIDTH_MAX;
    screen->row = 0;
    screen->frame = open_memstream(&screen->text, &screen->size);
    if (screen->frame == NULL) {
        return -ENOMEM;
    }
    if (!screen->is_plain) {
        (void)fputs(HOME, screen->frame); /* memory that is out shows in screen_show() */
    }
    return 0;
}

/* Where the character stands that is the first behind `columns` of them. */
static size_t cut_at(const char *text, size_t columns)
{
    size_t size = strlen(text), at = 0;
    uint32_t code;

    while (at < size && columns-- > 0) {
        size_t length = text_decode(text + at, size - at, &code);

        at += length > 0 ? length : 1;
    }
    return at;
}

void screen_line(struct screen *screen, bool is_marked, const char *format, ...)
{
    char line[4 * SCREEN_WIDTH_MAX + 1]; /* UTF-8 */
    size_t columns = (size_t)screen->columns, size, width;
    va_list args;

    if (!screen->is_plain && screen->row >= screen->rows) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (screen->is_plain) {
        (void)fprintf(screen->frame, "%s\n", line);
        return;
    }
    size = cut_at(line, columns);
    line[size] = '\0';
    width = text_width(line);
    /* the line's end goes before a line, so that the last one scrolls nothing */
    (void)fprintf(
        screen->frame, "%s%s%s%*s%s", screen->row > 0 ? LINE : "", is_marked ? REVERSE : "", line,
        is_marked && width < columns ? (int)(columns - width) : 0, "", is_marked ? NORMAL : "");
    screen->row++;
}

static int write_all(const char *text, size_t size)
{
    while (size > 0) {
        ssize_t n = write(STDOUT_FILENO, text, size);
        struct pollfd room = {.fd = STDOUT_FILENO, .events = POLLOUT};

        if (n >= 0) {
            text += n;
            size -= (size_t)n;
        } else if (errno == EAGAIN) {
            (void)poll(&room, 1, -1);
        } else if (errno != EINTR) {
            return -EIO;
        }
    }
    return 0;
}

int screen_show(struct screen *screen)
{
    int r;

    if (!screen->is_plain) {
        (void)fputs("\033[K" REST, screen->frame);
    }
    r = fclose(screen->frame) == 0 ? write_all(screen->text, screen->size) : -ENOMEM;
    screen->frame = NULL;
    free(screen->text);
    screen->text = NULL;
    return r;
}

void screen_fini(struct screen *screen)
{
    if (screen->frame != NULL) {
        (void)fclose(screen->frame); /* not to be shown */
    }
    free(screen->text);
    *screen = (struct screen){0};
}
