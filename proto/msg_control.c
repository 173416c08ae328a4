/* Packets between qvmd and a qvm: {"NAME": {...}}. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/msg_codec.h"
#include "proto/msg_write.h"

char *msg_control_format(enum msg_control control, const void *body)
{
    static const struct msg_none nothing;
    /* What is asked for must be that and no other; the rest is told to people. */
    struct msg_writer out = {.texts = control == CONTROL_ask ? MSG_EXACT : MSG_TOLD};

    if (body == NULL && msg_controls[control].type != MSG_none) {
        return NULL;
    }
    msg_write_raw(&out, "{\"");
    msg_write_raw(&out, msg_controls[control].name);
    msg_write_raw(&out, "\":");
    msg_write_struct(&out, msg_controls[control].type, body != NULL ? body : &nothing);
    msg_write_raw(&out, "}");
    return msg_writer_take(&out);
}

static int find_control(const char *name, bool from_qvmd, struct err *err)
{
    for (int i = 0; i < CONTROL_COUNT; i++) {
        if (strcmp(msg_controls[i].name, name) == 0) {
            if (from_qvmd ? msg_controls[i].from_qvmd : msg_controls[i].from_qvm) {
                return i;
            }
            return err_set(err, -EPROTO, "'%s' came from the wrong side", name);
        }
    }
    return err_set(err, -EPROTO, "there is no control message '%.64s'", name);
}

int msg_control_parse(const char *packet, size_t size, bool from_qvmd, enum msg_control *control,
                      void **body, struct err *err)
{
    auto_json json_t *object = NULL;
    auto_free void *content = NULL;
    enum msg_struct type;
    void *member;
    int r = msg_json_load(packet, size, &object, err);

    if (r != 0) {
        return r;
    }
    if (json_object_size(object) != 1) {
        return err_set(err, -EPROTO, "a control packet must hold exactly one message");
    }
    member = json_object_iter(object);
    r = find_control(json_object_iter_key(member), from_qvmd, err);
    if (r < 0) {
        return r;
    }
    type = msg_controls[r].type;
    content = calloc(1, msg_types[type].size + 1);
    if (content == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    *control = (enum msg_control)r;
    r = msg_json_read(type, json_object_iter_value(member), false, "", content, err);
    if (r == 0) {
        *body = take_ptr(content);
    }
    return r;
}
