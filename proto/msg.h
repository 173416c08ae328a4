/* Messages as C structs, and their JSON lines. messages.def is the list; this is the door to it.
 *
 * For each STRUCT(x) there is `struct msg_x` and `MSG_x`. Text, lists and objects in a struct are
 * owned by it (heap) once it was decoded: msg_fini() frees them. A struct that is only encoded may
 * point anywhere.
 *
 * Members that MAY be left out are zero, NULL, false or empty when they are, and are left out
 * when they are that. Decoding a request refuses members that the list does not know; decoding a
 * reply ignores them. Only this room knows the JSON library. Any thread. */
#ifndef QVM_PROTO_MSG_H
#define QVM_PROTO_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/words.h"

struct err;

#define MSG_LINE_MAX                                                                               \
    (5u << 20)             /* bytes of one API line without its newline: 16 full sources fit       \
                            */
#define MSG_DEPTH_MAX  16  /* nested arrays and objects */
#define MSG_ID_MAX     128 /* bytes of a request id as JSON */
#define MSG_PACKET_MAX (64u << 10) /* bytes of one control packet */
#define MSG_PACKET_FDS 64          /* descriptors that may come with it */

/* The structs. */
#define STRUCT(s, doc) struct msg_##s {
#define END(s)                                                                                     \
    }                                                                                              \
    ;
#define STR(s, m, need, longest, doc)       char *m;
#define NAME(s, m, need, doc)               char *m;
#define INT(s, m, need, smallest, big, doc) int64_t m;
#define BOOL(s, m, doc)                     bool m;
#define ENUM(s, m, need, table, doc)        int m;
#define BYTES(s, m, need, longest, doc)                                                            \
    uint8_t *m;                                                                                    \
    size_t m##_size;
#define LIST(s, m, type, most, doc)                                                                \
    struct msg_##type *m;                                                                          \
    size_t m##_count;
#define STRS(s, m, most, longest, doc)                                                             \
    char **m;                                                                                      \
    size_t m##_count;
#define OBJ(s, m, type, doc) struct msg_##type *m;
#include "proto/messages.def"
#include "proto/msg_undef.h"

#define STRUCT(s, doc) MSG_##s,
#include "proto/msg_ignore_fields.h"
enum msg_struct {
#include "proto/messages.def"
    MSG_STRUCT_COUNT
};
#include "proto/msg_undef.h"

enum msg_role { MSG_ROLE_VIEWER, MSG_ROLE_OPERATOR, MSG_ROLE_ADMIN };

#define METHOD(id, name, role, params, result, doc) METHOD_##id,
enum msg_method {
#include "proto/messages.def"
    METHOD_COUNT
};
#undef METHOD

#define CONTROL(id, name, from, since, type, doc) CONTROL_##id,
enum msg_control {
#include "proto/messages.def"
    CONTROL_COUNT
};
#undef CONTROL

struct msg_method_info {
    const char *name;
    enum msg_role role; /* least role that may call it */
    enum msg_struct params, result;
    const char *doc;
};
extern const struct msg_method_info msg_methods[METHOD_COUNT];

/* The method called `name`, or -1. */
int msg_method_find(const char *name);

/* The guest that a struct is about: its member `name`, or NULL. */
const char *msg_name_of(enum msg_struct type, const void *body);

/* The same of its member `device`. */
const char *msg_device_of(enum msg_struct type, const void *body);

/* Its member `request_id`, or NULL; and to set it: false, it has none. */
const char *msg_request_id_of(enum msg_struct type, const void *body);
bool msg_set_request_id(enum msg_struct type, void *body, char *id);

/* Free what a decoded struct owns (NULL and the half-decoded are fine) and zero it. */
void msg_fini(enum msg_struct type, void *body);

/* The same for a struct on the heap, and the struct itself. */
void msg_free(enum msg_struct type, void *body);

/* One struct as compact JSON text (no newline), to be freed. NULL: a text in it is not UTF-8, a
 * MUST is NULL, or memory is out. */
char *msg_encode(enum msg_struct type, const void *body);

/* The same for people: `?` stands in the place of each byte that is not UTF-8. */
char *msg_encode_told(enum msg_struct type, const void *body);

/* One struct from JSON text, into `body` (written on success alone).
 * -EBADMSG not JSON or too deep; -EINVAL a member is wrong, `err` names it by its path. */
int msg_decode(enum msg_struct type, const char *text, size_t size, bool is_request, void *body,
               struct err *err);

/* ---- the API: JSON-RPC 2.0, one message per line ---- */

struct msg_request {
    char *id;     /* as JSON text; NULL: a notification, which gets no answer */
    int method;   /* enum msg_method */
    void *params; /* struct msg_<params of the method>, on the heap */
};

/* One line (without newline). On failure `request->id` is still set if it could be read, so that
 * the refusal reaches its caller. -EBADMSG -EPROTO -ENOSYS -EINVAL as of errors.def. */
int msg_request_parse(const char *line, size_t size, struct msg_request *request, struct err *err);
void msg_request_fini(struct msg_request *request);

/* Lines with their newline, to be freed; NULL when memory is out. */
char *msg_request_format(int64_t id, enum msg_method method, const void *params);
char *msg_result_format(const char *id, enum msg_struct type, const void *result);
char *msg_result_format_json(const char *id, const char *json);
char *msg_error_format(const char *id, const struct err *err);
char *msg_event_format(const struct msg_event *event);

/* A notification that is no event. */
char *msg_notice_format(const char *method, enum msg_struct type, const void *params);

/* A request with any params (`qvmctl call`): -EINVAL when `params` is not a JSON object. */
int msg_request_format_json(int64_t id, const char *method, const char *params, char **line,
                            struct err *err);

struct msg_reply {
    int64_t id;              /* of the request */
    void *result;            /* for msg_reply_read() and _text(); NULL: refused, or an event */
    struct msg_event *event; /* a notification */
    int code;                /* negative errno of the refusal */
    char *error_name;        /* its stable name */
    char *message;           /* its sentence */
};

int msg_reply_parse(const char *line, size_t size, struct msg_reply *reply, struct err *err);
void msg_reply_fini(struct msg_reply *reply);

/* Its result as a struct, like msg_decode(); and as JSON text, to be freed. NULL: no memory. */
int msg_reply_read(const struct msg_reply *reply, enum msg_struct type, void *body,
                   struct err *err);
char *msg_reply_text(const struct msg_reply *reply);

/* The OpenRPC document (spec.open-rpc.org, 1.2.6) of the whole API, JSON text to be freed. */
char *msg_openrpc(const char *version);

/* ---- the control socket between qvmd and a qvm: {"NAME": {...}}, one packet each ---- */

struct msg_control_info {
    const char *name;
    bool from_qvmd, from_qvm;
    int since; /* the first version of the control protocol that knows it */
    enum msg_struct type;
};
extern const struct msg_control_info msg_controls[CONTROL_COUNT];

/* Text without newline, to be freed. */
char *msg_control_format(enum msg_control control, const void *body);

/* One packet; `*body` is struct msg_<type> on the heap, to be freed by msg_free(). `from_qvmd`
 * tells who sent it: what the other side alone may send is -EPROTO. Members that this version
 * does not know are ignored. */
int msg_control_parse(const char *packet, size_t size, bool from_qvmd, enum msg_control *control,
                      void **body, struct err *err);

/* ---- the list itself, for documents and their checks ---- */

#define MSG_MEMBER_MAX 24 /* bytes of a member's name, with its end */

/* Without a pointer: see words.h on that. */
struct msg_field {
    char name[MSG_MEMBER_MAX];
    enum {
        MSG_STR,
        MSG_NAME,
        MSG_INT,
        MSG_BOOL,
        MSG_ENUM,
        MSG_BYTES,
        MSG_LIST,
        MSG_STRS,
        MSG_OBJ
    } kind;
    bool must;
    uint32_t offset, count_offset; /* of the member, and of its count or size */
    int64_t min, max;              /* INT; max is the longest for texts, the most for lists */
    int64_t most;                  /* STRS: how many; max is then the longest */
    enum word_list words;          /* ENUM */
    enum msg_struct type;          /* LIST, OBJ */
};

struct msg_type {
    const char *name;
    size_t size;
    const struct msg_field *fields;
    size_t field_count;
};
extern const struct msg_type msg_types[MSG_STRUCT_COUNT];

/* What the list says of a struct, and of each of its fields. */
struct msg_doc {
    const char *text;
    const char *const *fields;
};
extern const struct msg_doc msg_docs[MSG_STRUCT_COUNT];

#endif
