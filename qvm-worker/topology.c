/* How a guest's vCPUs are arranged. */
#include "qvm-worker/topology.h"

#include <errno.h>

#include "proto/base/err.h"

/* Bits that number `count` things: 0 for one, 1 for two, 2 for three and four. */
static uint32_t bits_for(uint32_t count)
{
    uint32_t bits = 0;

    while (bits < 31 && 1u << bits < count) {
        bits++;
    }
    return bits;
}

uint32_t topology_threads(const struct topology *topology)
{
    return topology->threads != 0 ? topology->threads : 1;
}

uint32_t topology_cores(const struct topology *topology)
{
    return topology->cores != 0 ? topology->cores
                                : topology->cpu_count / topology_threads(topology);
}

uint32_t topology_packages(const struct topology *topology)
{
    return topology->cpu_count / (topology_cores(topology) * topology_threads(topology));
}

uint32_t topology_core_shift(const struct topology *topology)
{
    return bits_for(topology_threads(topology));
}

uint32_t topology_package_shift(const struct topology *topology)
{
    return topology_core_shift(topology) + bits_for(topology_cores(topology));
}

uint32_t topology_apic_id(const struct topology *topology, uint32_t index)
{
    uint32_t threads = topology_threads(topology), cores = topology_cores(topology);

    return index / threads / cores << topology_package_shift(topology) |
           index / threads % cores << topology_core_shift(topology) | index % threads;
}

int topology_check(const struct topology *topology, struct err *err)
{
    uint32_t threads = topology_threads(topology), cores = topology->cores;

    if (topology->cpu_count % threads != 0) {
        return err_set(err, -EINVAL, "%u CPUs are no whole number of cores of %u threads",
                       topology->cpu_count, threads);
    }
    if (cores != 0 && topology->cpu_count % (cores * threads) != 0) {
        return err_set(err, -EINVAL,
                       "%u CPUs are no whole number of packages of %u cores with %u thread%s",
                       topology->cpu_count, cores, threads, threads == 1 ? "" : "s");
    }
    return 0;
}
