/* The CMOS real-time clock (MC146818) at ports 0x70 and 0x71. */
#ifndef QVM_TESTS_GUESTS_BARE_CLOCK_H
#define QVM_TESTS_GUESTS_BARE_CLOCK_H

/* Print "YYYY-MM-DD hh:mm:ss", or that there is no clock. */
void clock_print(void);

#endif
