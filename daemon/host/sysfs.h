/* Attributes of sysfs(5): small files and links in a directory that is open. */
#ifndef QVM_DAEMON_HOST_SYSFS_H
#define QVM_DAEMON_HOST_SYSFS_H

#include <dirent.h>
#include <stddef.h>
#include <stdint.h>

/* Open the directory ROOT + `path`. `root` is what stands before "/sys" and "/proc": "" on the
 * machine itself. -1: it cannot be opened, errno says why. */
int sysfs_open(const char *root, const char *path);

/* The first line of `name` without its end, cut to `size`; what is no printable ASCII becomes '?'.
 * 0 or -errno, with an empty text. */
int sysfs_text(int dir_fd, const char *name, char *text, size_t size);

/* A number in C's notation, or `none`: there is no such file, or it holds none. */
int64_t sysfs_number(int dir_fd, const char *name, int64_t none);

/* Where the link `name` leads, as it stands there, and the last component of that. 0 or -errno,
 * with an empty text; -ENAMETOOLONG: it does not fit. */
int sysfs_link(int dir_fd, const char *name, char *target, size_t size);
int sysfs_link_base(int dir_fd, const char *name, char *base, size_t size);

/* What is no printable ASCII becomes '?'. */
void sysfs_harmless(char *text);

/* The entries of ROOT + `path` but for "." and "..", one by one; NULL when there are no more.
 *     auto_dir DIR *dir = sysfs_list(root, path);
 *     while ((name = sysfs_next(dir)) != NULL) ...
 * A directory that is not there has none. */
DIR *sysfs_list(const char *root, const char *path);
const char *sysfs_next(DIR *dir);
void sysfs_list_end(DIR **dir);

#define auto_dir __attribute__((cleanup(sysfs_list_end)))

#endif
