/* The OpenRPC document (spec.open-rpc.org, version 1.2.6) made from the lists. */
#include <stdio.h>

#include "proto/base/cleanup.h"
#include "proto/msg_codec.h"

static json_t *reference(enum msg_struct type)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "#/components/schemas/%s", msg_types[type].name);
    return json_pack("{s:s}", "$ref", path);
}

static json_t *enum_schema(const struct word_table *table)
{
    json_t *names = json_array();

    for (int i = 0; i < table->count; i++) {
        if (table->names[i] != NULL) {
            (void)json_array_append_new(names, json_string(table->names[i]));
        }
    }
    return json_pack("{s:s, s:o}", "type", "string", "enum", names);
}

static json_t *field_schema(const struct msg_field *field)
{
    switch (field->kind) {
    case MSG_STR:
        return json_pack("{s:s, s:I}", "type", "string", "maxLength", (json_int_t)field->max);
    case MSG_NAME:
        return json_pack("{s:s, s:s}", "type", "string", "pattern",
                         "^[A-Za-z][A-Za-z0-9._-]{0,62}$");
    case MSG_INT:
        return json_pack("{s:s, s:I, s:I}", "type", "integer", "minimum", (json_int_t)field->min,
                         "maximum", (json_int_t)field->max);
    case MSG_BOOL:
        return json_pack("{s:s}", "type", "boolean");
    case MSG_ENUM:
        return enum_schema(words_table(field->words));
    case MSG_BYTES:
        return json_pack("{s:s, s:s}", "type", "string", "contentEncoding", "base64");
    case MSG_LIST:
        return json_pack("{s:s, s:I, s:o}", "type", "array", "maxItems", (json_int_t)field->max,
                         "items", reference(field->type));
    case MSG_STRS:
        return json_pack("{s:s, s:I, s:{s:s, s:I}}", "type", "array", "maxItems",
                         (json_int_t)field->most, "items", "type", "string", "maxLength",
                         (json_int_t)field->max);
    case MSG_OBJ:
        return reference(field->type);
    }
    return NULL;
}

static json_t *described(json_t *schema, const char *doc)
{
    (void)json_object_set_new(schema, "description", json_string(doc));
    return schema;
}

static json_t *struct_schema(enum msg_struct of)
{
    const struct msg_type *type = &msg_types[of];
    const struct msg_doc *doc = &msg_docs[of];
    json_t *properties = json_object();
    json_t *required = json_array();

    for (size_t i = 0; i < type->field_count; i++) {
        const struct msg_field *field = &type->fields[i];

        (void)json_object_set_new(properties, field->name,
                                  described(field_schema(field), doc->fields[i]));
        if (field->must) {
            (void)json_array_append_new(required, json_string(field->name));
        }
    }
    return json_pack("{s:s, s:s, s:o, s:o}", "type", "object", "description", doc->text,
                     "properties", properties, "required", required);
}

static json_t *method_params(enum msg_struct of)
{
    const struct msg_type *type = &msg_types[of];
    json_t *params = json_array();

    for (size_t i = 0; i < type->field_count; i++) {
        const struct msg_field *field = &type->fields[i];

        (void)json_array_append_new(params,
                                    json_pack("{s:s, s:s, s:b, s:o}", "name", field->name,
                                              "description", msg_docs[of].fields[i], "required",
                                              (int)field->must, "schema", field_schema(field)));
    }
    return params;
}

static json_t *methods(void)
{
    static const char *const roles[] = {"viewer", "operator", "admin"};
    json_t *list = json_array();

    for (int i = 0; i < METHOD_COUNT; i++) {
        const struct msg_method_info *method = &msg_methods[i];
        json_t *result =
            i == METHOD_discover ? json_pack("{s:s}", "type", "object") : reference(method->result);

        (void)json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:s, s:o, s:{s:s, s:o}}", "name", method->name,
                            "summary", method->doc, "paramStructure", "by-name", "x-role",
                            roles[method->role], "params", method_params(method->params), "result",
                            "name", "result", "schema", result));
    }
    return list;
}

static json_t *errors(void)
{
    json_t *list = json_object();

    for (size_t i = 0; i < error_word_count; i++) {
        (void)json_object_set_new(list, error_words[i].name,
                                  json_pack("{s:i, s:s, s:{s:s}}", "code", error_words[i].rpc_code,
                                            "message", error_words[i].doc, "data", "name",
                                            error_words[i].name));
    }
    return list;
}

char *msg_openrpc(const char *version)
{
    auto_json json_t *document = NULL;
    json_t *schemas = json_object();

    for (int i = 0; i < MSG_STRUCT_COUNT; i++) {
        (void)json_object_set_new(schemas, msg_types[i].name, struct_schema((enum msg_struct)i));
    }
    document = json_pack("{s:s, s:{s:s, s:s}, s:o, s:{s:o, s:o}}", "openrpc", "1.2.6", "info",
                         "title", "qvmd", "version", version, "methods", methods(), "components",
                         "schemas", schemas, "errors", errors());
    return document != NULL ? msg_json_text(document, "") : NULL;
}
