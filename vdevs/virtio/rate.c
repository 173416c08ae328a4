/* A bound on how much of something happens in a second. */
#include "vdevs/virtio/rate.h"

#define NS_PER_S UINT64_C(1000000000)

uint64_t rate_wait_ns(const struct rate *rate, uint64_t now_ns)
{
    uint64_t allowed_ns = now_ns + RATE_BURST_NS;

    return rate->per_second != 0 && rate->paid_ns > allowed_ns ? rate->paid_ns - allowed_ns : 0;
}

void rate_take(struct rate *rate, uint64_t now_ns, uint32_t amount)
{
    if (rate->per_second != 0) {
        rate->paid_ns = rate->paid_ns > now_ns ? rate->paid_ns : now_ns;
        rate->paid_ns += amount * NS_PER_S / rate->per_second; /* below 2^32 times 2^30 */
    }
}
