/* In a helper's child, before it becomes the program: whether an image is what it is said to be,
 * and whole by itself. Its first bytes are read and nothing else; what is in them is anybody's. */
#ifndef QVM_DAEMON_WORKER_HELPER_IMAGE_H
#define QVM_DAEMON_WORKER_HELPER_IMAGE_H

struct err;

/* -EINVAL: it is of another format, or damaged; -ENOTSUP: it needs another file, or a key. `err`
 * has a sentence without the image's name. -EIO: it cannot be read. */
int helper_image_check(int fd, const char *format, struct err *err);

#endif
