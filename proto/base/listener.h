/* A Unix stream socket that is made at a path, for programs that connect there, and removed again.
 * Its place is a directory, as a descriptor (O_PATH is enough), and a name in it. */
#ifndef QVM_PROTO_BASE_LISTENER_H
#define QVM_PROTO_BASE_LISTENER_H

struct err;

/* Make it, for programs of this user alone, and listen: `*fd` never waits, and is the caller's. One
 * at which nobody listens any more is replaced. -EBUSY: somebody listens there; -EEXIST: something
 * else has that name; -ENAMETOOLONG; or as of bind(2). `path` is for the words. */
int listener_open(int directory, const char *name, const char *path, int *fd, struct err *err);

/* Remove it, if nobody listens at it any more. What else is there stays. */
void listener_remove(int directory, const char *name);

#endif
