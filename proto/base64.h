/* Base64 of RFC 4648, section 4: bytes in JSON. */
#ifndef QVM_PROTO_BASE64_H
#define QVM_PROTO_BASE64_H

#include <stddef.h>
#include <stdint.h>

/* Text to be freed, NULL when memory is out. */
char *base64_encode(const uint8_t *data, size_t size);

/* Bytes to be freed (never NULL on success, even for none): -EINVAL when it is not base64 with its
 * padding, -EMSGSIZE when there are more than `max`, -ENOMEM. */
int base64_decode(const char *text, size_t max, uint8_t **data, size_t *size);

#endif
