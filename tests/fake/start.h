/* Who a fake qvm is, from its start descriptor, by plain search: this is no JSON reader. */
#ifndef TESTS_FAKE_START_H
#define TESTS_FAKE_START_H

struct fake_start {
    char nonce[65];
    long instance;
    char text[1024]; /* its definition, up to the first quote or what fits */
};

void fake_start_read(struct fake_start *start);

#endif
