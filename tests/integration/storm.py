"""How long a storm of random accesses blows: some rounds, or QVM_STORM seconds of them. ./check has
seconds for it; a minute of each kind is

    for t in chips pci virtio; do
        QVM_BUILD=$PWD/build/release QVM_STORM=60 python3 tests/integration/test_$t.py -v
    done
"""

import os
import time

SECONDS = float(os.environ.get("QVM_STORM", "0"))


def seeds(least):
    """1, 2, 3 ...: at least so many, and until the time is over."""
    end = time.monotonic() + SECONDS
    seed = 1
    while seed <= least or time.monotonic() < end:
        yield seed
        seed += 1
