/* ACPI's byte code, as far as our DSDT needs it: ACPI 6.5, chapter 20.
 *
 * A writer over the caller's buffer: what does not fit is not written and sets is_full, so that one
 * check at the end is enough. */
#ifndef QVM_WORKER_TABLES_AML_H
#define QVM_WORKER_TABLES_AML_H

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

void aml_eisa_id(struct aml *aml, const char *id); /* "PNP0C0C" as a number */

/* Inside resources. */
void aml_resource_io(struct aml *aml, uint16_t start, uint8_t size);

/* A line: active high and exclusive, but for levels on those that PCI's interrupts come by, too
 * (above the 16 of ISA): they are shared, and active low as PCI's are, or a guest would have to
 * refuse one of the two. Our chips know no polarity. */
void aml_resource_irq(struct aml *aml, uint32_t gsi, bool is_level);

void aml_resource_memory(struct aml *aml, uint32_t start, uint32_t size); /* fixed, writable */

/* What a bridge hands on to what is behind it, `first` to `last`. */
enum aml_window { AML_WINDOW_BUSES, AML_WINDOW_PORTS, AML_WINDOW_MEMORY, AML_WINDOW_MEMORY_64 };
void aml_resource_window(struct aml *aml, enum aml_window kind, uint64_t first, uint64_t last);

/* Raw bytes, for the few places that need them. */
void aml_bytes(struct aml *aml, const void *bytes, uint32_t size);

#endif
