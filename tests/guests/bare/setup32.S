/* The setup sectors of guest32.bzimage: a kernel without the 64-bit entry. */
#define XLOADFLAGS 0
#include "tests/guests/bare/setup.S"
