/* What the files of config.h share; nobody else includes this. */
#ifndef QVM_DAEMON_CONFIG_INSIDE_H
#define QVM_DAEMON_CONFIG_INSIDE_H

#include <sys/types.h>

#include "daemon/config.h"
#include "proto/conf/option.h"

enum {
    CONFIG_IN_QUOTA = 1u << 0,
    CONFIG_IN_PARTITION = 1u << 1,
    CONFIG_IN_DEVICE = 1u << 2,
    CONFIG_IN_TAP = 1u << 3
};

/* config_partition.c: handlers of the options that divide the host */
int config_cluster(struct conf_scope *scope, const struct conf_word *option);
int config_housekeeping(struct conf_scope *scope, const struct conf_word *option);
int config_region(struct conf_scope *scope, const struct conf_word *option);
int config_partition(struct conf_scope *scope, const struct conf_word *option);
int config_memory(struct conf_scope *scope, const struct conf_word *option);
int config_shared(struct conf_scope *scope, const struct conf_word *option);
int config_exclusive(struct conf_scope *scope, const struct conf_word *option);
int config_page_size(struct conf_scope *scope, const struct conf_word *option);
int config_node(struct conf_scope *scope, const struct conf_word *option);
int config_user(struct conf_scope *scope, const struct conf_word *option);

/* The users of something that is declared; `of`: what to say of it after "more than N times
 * 'user'". */
struct config_users {
    uid_t *users;
    size_t *count, most;
    const char *of;
};

/* config_partition.c: take one more; -ENOEXEC: nobody is called that, or there are enough */
int config_add_user(struct conf_scope *scope, const struct conf_word *option,
                    const struct config_users *list);

/* config_device.c: handlers of the options of the device pool */
int config_device(struct conf_scope *scope, const struct conf_word *option);
int config_device_id(struct conf_scope *scope, const struct conf_word *option);
int config_device_serial(struct conf_scope *scope, const struct conf_word *option);
int config_device_user(struct conf_scope *scope, const struct conf_word *option);

/* config_tap.c: handlers of the options of the host's taps */
int config_tap(struct conf_scope *scope, const struct conf_word *option);
int config_tap_bridge(struct conf_scope *scope, const struct conf_word *option);
int config_tap_user(struct conf_scope *scope, const struct conf_word *option);

/* config.c: free a list of texts */
void config_texts_free(struct config_texts *texts);

/* What follows from all that on this host; what cannot be found out of it is not checked. */
int config_settle(struct config *config, struct err *err);

#endif
