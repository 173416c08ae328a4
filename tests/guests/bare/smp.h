/* Starting the other CPUs by INIT and SIPI. */
#ifndef QVM_TESTS_GUESTS_BARE_SMP_H
#define QVM_TESTS_GUESTS_BARE_SMP_H

/* Start every CPU that ACPI names, one after the other, and print each that came up; they then
 * sleep with interrupts off. Returns how many are up, the boot CPU among them. May be called again.
 */
unsigned smp_start(void);

#endif
