/* Every fuzz target is one function. Built with clang it is driven by libFuzzer; see
 * tests/fuzz/CMakeLists.txt. */
#ifndef QVM_TESTS_FUZZ_H
#define QVM_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
