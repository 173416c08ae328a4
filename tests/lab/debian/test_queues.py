#!/usr/bin/python3
"""A stock Debian guest whose card has several pairs of queues, at a tap in a bridge of its host:
each CPU has a pair of its own, and each is used."""

import os
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import debian  # noqa: E402: only after the line above
import exchange  # noqa: E402
import family  # noqa: E402
import netdev  # noqa: E402: debian has said where it is
from exchange import SECONDS  # noqa: E402

SIZE = 1 << 18
HOST, GUEST = "10.0.9.9", "10.0.9.1"
MAC = "02:00:00:00:00:01"


class QueuesTest(debian.DebianTest):
    settings = (*debian.DebianTest.settings, "tap vm* bridge br0")

    def used(self):
        """How often each queue was used."""
        return {int(name.removeprefix("queue-")): int(value.split()[-4])
                for name, value in family.state(self, "a", "wide").items()
                if name.startswith("queue-")}

    def test_each_cpu_uses_its_own_pair_of_queues(self):
        subprocess.run(["modprobe", "bridge"], check=True)
        netdev.add_bridge("br0", HOST)
        definition = debian.debian("a", cpus=2)
        definition["sources"][0]["text"] = definition["sources"][0]["text"].replace(
            "initrd.img", "initrd-disk.img") + (
                f"vdev virtio-net name wide tap vm1,br0 queues 2 mac {MAC}\n")
        self.qvmd.call("guest.start", name="a", definition=definition)
        console = debian.Console(self.qvmd, "a")
        self.addCleanup(console.close)
        console.wait_for_shell()
        console.run("load-modules", SECONDS)
        console.run(f"i=$(grep -l {MAC} /sys/class/net/*/address); i=${{i%/address}}; "
                    f"i=${{i##*/}}; ip addr add {GUEST}/24 dev $i && ip link set $i up", SECONDS)
        self.assertEqual(console.run("ls /sys/class/net/$i/queues").split(),
                         ["rx-0", "rx-1", "tx-0", "tx-1"])
        self.assertEqual(family.state(self, "a", "wide")["pairs"], "2 of 2")
        exchange.make_numbers(console, SIZE)
        for cpu in (0, 1):
            before = self.used()
            exchange.speak_with_host(self, console, HOST, SIZE, f"taskset {1 << cpu:x} ")
            after = self.used()
            for queue in (2 * cpu, 2 * cpu + 1):
                self.assertGreater(after[queue], before[queue], (cpu, before, after))


if __name__ == "__main__":
    debian.main()
