/* How a guest's vCPUs are arranged: packages of cores, cores of threads; and their APIC ids.
 *
 * An APIC id has a field of whole bits for each level (Intel SDM 3A, 9.9; AMD APM 3, appendix E.5),
 * so that ids have gaps where a number of cores or threads is no power of two. */
#ifndef QVM_WORKER_TOPOLOGY_H
#define QVM_WORKER_TOPOLOGY_H

#include <stdint.h>

struct err;

#define TOPOLOGY_THREADS_MAX 8u

struct topology {
    uint32_t cpu_count;
    uint32_t cores;   /* of a package; 0: all that there are */
    uint32_t threads; /* of a core; 0: one */
};

/* -EINVAL: the vCPUs do not fill whole cores and packages. */
int topology_check(const struct topology *topology, struct err *err);

uint32_t topology_threads(const struct topology *topology);
uint32_t topology_cores(const struct topology *topology);
uint32_t topology_packages(const struct topology *topology);

/* Bits of an APIC id below that of the core, and below that of the package. */
uint32_t topology_core_shift(const struct topology *topology);
uint32_t topology_package_shift(const struct topology *topology);

/* Of vCPU `index`; ids rise with it. */
uint32_t topology_apic_id(const struct topology *topology, uint32_t index);

#endif
