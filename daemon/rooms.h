/* All rooms of a qvmd, opened in order and closed in the reverse one. Loop thread. */
#ifndef QVM_DAEMON_ROOMS_H
#define QVM_DAEMON_ROOMS_H

struct config;
struct err;
struct rooms;
struct uv_loop_s;

/* Directories, store, guests, socket, and then adoption. `config` is borrowed. */
int rooms_open(struct uv_loop_s *loop, const struct config *config, struct rooms **rooms,
               struct err *err);

/* Ends all conversations, leaves all guests running. Run the loop to its end afterwards, then
 * rooms_free(). */
void rooms_close(struct rooms *rooms);
void rooms_free(struct rooms *rooms);

#endif
