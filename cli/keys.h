/* Keys that are pressed at a guest: what `sendkey` and `point` have in common. */
#ifndef QVM_CLI_KEYS_H
#define QVM_CLI_KEYS_H

struct client;
struct err;

/* All of them, before the first is pressed: STATUS_OK, or STATUS_USAGE, said on stderr. */
int keys_check(char *const *keys, int count);

/* One after the other, each by a call of its own. 0, or as client_ask. */
int keys_press(struct client *client, char *guest, char *const *keys, int count, struct err *err);

#endif
