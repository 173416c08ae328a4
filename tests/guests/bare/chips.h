/* Interrupts by way of the 8259 and of the IOAPIC, from a test device and an interval timer. */
#ifndef QVM_TESTS_GUESTS_BARE_CHIPS_H
#define QVM_TESTS_GUESTS_BARE_CHIPS_H

/* Try all ways and tell how many interrupts came and what each took. */
void chips_try(void);

/* So many accesses of random ports and addresses, of random widths and values. */
void chips_storm(unsigned accesses);

/* Take each interrupt of the vectors that nobody has, and forget it. */
void chips_expect_anything(void);

#endif
