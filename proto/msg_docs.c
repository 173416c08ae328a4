/* What messages.def says in words, apart from the tables: for documents and completion alone. */
#include "proto/msg.h"

#define STRUCT(s, doc) static const char *const docs_##s[] = {
#define END(s)                                                                                     \
    NULL                                                                                           \
    }                                                                                              \
    ;
#define STR(s, m, need, longest, doc)           doc,
#define NAME(s, m, need, doc)                   doc,
#define INT(s, m, need, smallest, largest, doc) doc,
#define BOOL(s, m, doc)                         doc,
#define ENUM(s, m, need, table, doc)            doc,
#define BYTES(s, m, need, longest, doc)         doc,
#define LIST(s, m, type, most, doc)             doc,
#define STRS(s, m, most, longest, doc)          doc,
#define OBJ(s, m, type, doc)                    doc,
#include "proto/messages.def"
#include "proto/msg_undef.h"

#define STRUCT(s, doc) [MSG_##s] = {doc, docs_##s},
#include "proto/msg_ignore_fields.h"
const struct msg_doc msg_docs[MSG_STRUCT_COUNT] = {
#include "proto/messages.def"
};
#include "proto/msg_undef.h"
