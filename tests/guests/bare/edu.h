/* QEMU's device for teaching, of which a host may give this guest a real one: it sends messages and
 * writes to memory as it is told. Commands with their arguments. Source: QEMU, docs/specs/edu. */
#ifndef QVM_TESTS_GUESTS_BARE_EDU_H
#define QVM_TESTS_GUESTS_BARE_EDU_H

/* [BUS:]DEVICE COUNT: as many messages by MSI, each when the one before came. */
void edu_messages(const char *arguments);

/* [BUS:]DEVICE ADDRESS: it copies 16 bytes of the guest's to itself and from there to the address
 * (hexadecimal). Only where the guest has RAM can it look whether they came. */
void edu_dma(const char *arguments);

#endif
