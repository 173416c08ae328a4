/* All rooms of a qvmd, opened in order and closed in the reverse one. Loop thread. */
#ifndef QVM_DAEMON_ROOMS_H
#define QVM_DAEMON_ROOMS_H

struct config;
struct err;
struct rooms;
struct uv_loop_s;

/* Where a configuration comes from: into `fresh`, which was not initialized. */
struct rooms_source {
    int (*read)(void *context, struct config *fresh, struct err *err);
    void *context;
};

/* Directories, store, guests, socket, and then adoption. `config` is
 * borrowed, and changes when it is read again. `listen_fd`: the
 * API's socket, taken over if it comes to that; -1: we make it. */
int rooms_open(struct uv_loop_s *loop, struct config *config, int listen_fd,
               const struct rooms_source *source, struct rooms **rooms, struct err *err);

/* Read the configuration again and go on with it, as far as that is possible while qvmd runs: what
 * is not stands in `note` (ROOMS_NOTE_SIZE). On failure nothing has changed. -EBUSY: a guest that
 * lives could not go on. */
#define ROOMS_NOTE_SIZE 1024
int rooms_reload(struct rooms *rooms, char *note, struct err *err);

/* Ends all conversations, leaves all guests running. Run the loop to its end afterwards, then
 * rooms_free(). */
void rooms_close(struct rooms *rooms);
void rooms_free(struct rooms *rooms);

#endif
