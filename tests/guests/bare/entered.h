/* How the guest was entered and what it was told, whichever form that had. */
#ifndef QVM_TESTS_GUESTS_BARE_ENTERED_H
#define QVM_TESTS_GUESTS_BARE_ENTERED_H

#include "tests/guests/bare/bootparams.h"

/* Remember the entry (ENTERED_... of layout.h) and its information, and give it as a zero page. */
const struct boot_params *entered_note(unsigned entry, const void *info);

/* Tell entry and modules: "entered: WHAT, N modules", "module NAME: SIZE bytes, sum S" each. */
void entered_print(void);

#endif
