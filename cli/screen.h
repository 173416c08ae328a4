/* A full screen at a terminal, drawn as a whole: one write a frame, so that nothing flickers. The
 * terminal gets its own picture and its settings back on every way out. */
#ifndef QVM_CLI_SCREEN_H
#define QVM_CLI_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct err;

#define SCREEN_WIDTH_MAX 512 /* columns of a line; what is wider is cut */

struct screen {
    int rows, columns;
    bool is_plain; /* no terminal: lines as they are, and all of them */
    FILE *frame;   /* what is being drawn */
    char *text;
    size_t size;
    int row;
};

/* Take the terminal at stdin and stdout. From now on it is given back at exit. */
int screen_enter(struct screen *screen, struct err *err);
void screen_leave(void);

/* Begin a frame: looks how large the terminal is now. */
int screen_begin(struct screen *screen);

/* One line, cut at the right edge; those below the last row are dropped. The text is harmless
 * (text.h). `is_marked`: shown the other way round, to the right edge. */
__attribute__((format(printf, 3, 4))) void screen_line(struct screen *screen, bool is_marked,
                                                       const char *format, ...);

/* Show it. -EIO: the terminal is gone. */
int screen_show(struct screen *screen);
void screen_fini(struct screen *screen);

#endif
