/* ACPI's byte code, as far as our DSDT needs it: ACPI 6.5, chapter 20.
 *
 * A writer over the caller's buffer: what does not fit is not written and sets is_full, so that one
 * check at the end is enough. */
#ifndef QVM_WORKER_AML_H
#define QVM_WORKER_AML_H

#include <stdbool.h>
#include <stdint.h>

struct aml {
    uint8_t *bytes;
    uint32_t size, room;
    bool is_full;
};

/* Objects that hold others: open, fill, close. aml_open_* returns what aml_close takes. */
uint32_t aml_open_scope(struct aml *aml, const char *path);
uint32_t aml_open_device(struct aml *aml, const char *name);
uint32_t aml_open_method(struct aml *aml, const char *name, uint32_t argument_count);
uint32_t aml_open_package(struct aml *aml, uint32_t element_count);
uint32_t aml_open_resources(struct aml *aml); /* Name(_CRS, ResourceTemplate() {...}) */
void aml_close(struct aml *aml, uint32_t opened);
void aml_close_resources(struct aml *aml, uint32_t opened);

/* Name(NAME, ...): names have four letters. */
void aml_name(struct aml *aml, const char *name);
void aml_integer(struct aml *aml, uint32_t value);
void aml_string(struct aml *aml, const char *text);

/* Name(_HID, ...): "PNP0C0C" as an EISA id, anything else as a string. */
void aml_hid(struct aml *aml, const char *hid);

/* Inside resources. */
void aml_resource_io(struct aml *aml, uint16_t start, uint8_t size);
void aml_resource_irq(struct aml *aml, uint32_t gsi); /* edge, active high, exclusive */

/* Raw bytes, for the few places that need them. */
void aml_bytes(struct aml *aml, const void *bytes, uint32_t size);

#endif
