/* What stands in the DSDT: the power button, the devices of the configuration, the PCI buses. */
#ifndef QVM_WORKER_TABLES_ACPI_DSDT_H
#define QVM_WORKER_TABLES_ACPI_DSDT_H

struct acpi_config;
struct aml;

/* The definition block behind the table's header. */
void acpi_write_dsdt(struct aml *aml, const struct acpi_config *config);

#endif
