/* What time it is. */
#ifndef QVM_DAEMON_HOST_CLOCK_H
#define QVM_DAEMON_HOST_CLOCK_H

#include <stdint.h>

#define CLOCK_TEXT_SIZE 40

/* Nanoseconds since 1970, UTC; may jump. */
int64_t clock_real_ns(void);

/* Nanoseconds since some point in the past; never jumps. */
int64_t clock_mono_ns(void);

/* Nanoseconds since the host's boot, its sleep included; never jumps. */
int64_t clock_boot_ns(void);

/* `real_ns` as RFC 3339 in UTC with milliseconds: 2026-05-31T09:08:07.654Z. Returns `text`. */
char *clock_text(int64_t real_ns, char text[CLOCK_TEXT_SIZE]);

/* The same for now. */
char *clock_now_text(char text[CLOCK_TEXT_SIZE]);

/* Read what clock_text() wrote. -EINVAL: it is not such a time. */
int clock_parse(const char *text, int64_t *real_ns);

#endif
