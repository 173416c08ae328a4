#!/usr/bin/python3
"""A stock Debian guest whose drivers know virtio 0.9.5 alone: on PCI by their own wish, at an address
since the device has no other version. Disks, a card, random numbers, a console with a port, a
balloon."""

import os
import subprocess
import sys
from functools import partial

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import debian  # noqa: E402: only after the line above
import family  # noqa: E402
import netdev  # noqa: E402: debian has said where it is

SECONDS = 120
SIZE = 32 << 20
WRITTEN = 1 << 16
HOST, GUEST = "10.0.9.9", "10.0.9.1"
MAC = "02:00:00:00:00:01"
F_MAC = 1 << 5  # no merged buffers: the header of its frames has 10 bytes
F_VERSION_1 = 32
MODULES = ('while read -r m; do f=; case $m in virtio_pci.ko*) f=force_legacy=1;; esac; '
           'insmod /lib/modules/disk/$m $f || break; done </lib/modules/disk/order')
IDS = ["0x1000", "0x1001", "0x1002", "0x1003", "0x1005"]


class LegacyTest(debian.DebianTest):
    settings = (*debian.DebianTest.settings, "tap vm* bridge br0")

    def image(self, name):
        path = os.path.join(self.qvmd.top, name)
        with open(path, "wb") as file:
            file.truncate(SIZE)
        return path

    def test_drivers_of_0_9_5_have_all_that_there_was_then(self):
        subprocess.run(["modprobe", "bridge"], check=True)
        netdev.add_bridge("br0", HOST)
        first, second = self.image("first.img"), self.image("second.img")
        definition = debian.debian("a")
        definition["sources"][0]["text"] = definition["sources"][0]["text"].replace(
            "initrd.img", "initrd-disk.img") + (
            f"vdev virtio-blk legacy hostdev {first}\n"
            f"vdev virtio-blk legacy loc mem:feb00000,512 intr ioapic:20 hostdev {second}\n"
            f"vdev virtio-net legacy tap vm1,br0 mac {MAC} peerfeats {F_MAC}\n"
            "vdev virtio-entropy legacy\nvdev virtio-balloon legacy\n"
            "vdev virtio-console legacy port agent\n")
        self.qvmd.call("guest.start", name="a", definition=definition)
        console = debian.Console(self.qvmd, "a")
        self.addCleanup(console.close)
        console.wait_for_shell()
        console.run(MODULES, SECONDS)
        self.in_turn(partial(self.they_are_what_they_were_then, console),
                     partial(self.a_disk_is_written, console, "pci", first),
                     partial(self.a_disk_is_written, console, "platform", second),
                     partial(self.the_card_reaches_the_host, console),
                     partial(family.entropy, self, console, "a"),
                     partial(family.balloon, self, console, "a"),
                     partial(self.a_port_carries_bytes, console))

    def they_are_what_they_were_then(self, console):
        said = console.run("cat /sys/bus/pci/devices/*/device", SECONDS)
        self.assertEqual(sorted(said.split()[-5:]), IDS, said)
        features = console.run("cat /sys/bus/virtio/devices/*/features", SECONDS).split()
        self.assertEqual({bits[F_VERSION_1] for bits in features}, {"0"}, features)
        self.assertEqual(len(features), len(IDS) + 1)
        self.assertIn("legacy", family.state(self, "a", "virtio-net")["status"])

    def a_disk_is_written(self, console, bus, image):
        device = console.run(f"ls -l /sys/block | grep /virtio | grep /{bus}", SECONDS).split()[-1]
        device = os.path.basename(device)
        console.run(f"seq 20000 | head -c {WRITTEN} | dd of=/dev/{device} bs=64k conv=fsync "
                    f"2>/dev/null; echo 3 >/proc/sys/vm/drop_caches; seq 20000 | "
                    f"head -c {WRITTEN} >/same; head -c {WRITTEN} /dev/{device} | cmp - /same",
                    SECONDS)
        expected = "".join(f"{i}\n" for i in range(1, 20001))[:WRITTEN]
        with open(image, encoding="ascii") as file:
            self.assertEqual(file.read(WRITTEN), expected)

    def the_card_reaches_the_host(self, console):
        console.run(f"i=$(grep -l {MAC} /sys/class/net/*/address); i=${{i%/address}}; "
                    f"i=${{i##*/}}; ip addr add {GUEST}/24 dev $i && ip link set $i up", SECONDS)
        said = console.run(f"ping -c 3 -s 1400 {HOST}", SECONDS)
        self.assertIn(" 0% packet loss", said)

    def a_port_carries_bytes(self, console):
        agent = debian.Console(self.qvmd, "a", port="agent")
        self.addCleanup(agent.close)
        named = console.run("grep -l agent /sys/class/virtio-ports/*/name", SECONDS)
        port = os.path.basename(os.path.dirname(named.split()[-1]))
        console.run(f"echo from the guest >/dev/{port}", SECONDS)
        agent.read_until("from the guest\n")
        agent.send("to the guest\n")
        self.assertEqual(console.run(f"head -n 1 /dev/{port}", SECONDS), "to the guest\n")


if __name__ == "__main__":
    debian.main()
