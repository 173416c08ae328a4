#!/usr/bin/python3
"""Two stock Debian guests whose taps' frames the host's kernel moves (vhost-net), with what drivers
leave to the cards and with nothing of it; and a card of the same host's which qvm serves itself."""

import contextlib
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import debian  # noqa: E402: only after the line above
import exchange  # noqa: E402
import netdev  # noqa: E402: debian has said where it is
from exchange import FIND, SECONDS, copy, mac  # noqa: E402

SIZE = 1 << 20

# By number: the bridge, and what the cards of both guests are.
CARDS = {1: ("br1", "vhost on"), 2: ("br2", "vhost on peerfeats 0"), 3: ("br3", "vhost on queues 2"),
         4: ("br4", "vhost off")}


def address(number, end):
    """Of guest 0 or 1 in a bridge; of the host."""
    return f"10.0.{number}.{end + 1}"


HOST = 8


class VhostTest(debian.DebianTest):
    settings = (*debian.DebianTest.settings,
                "tap vm* " + " ".join(f"bridge br{number}" for number in CARDS))

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for module in ("bridge", "vhost_net"):
            subprocess.run(["modprobe", module], check=True)
        for number in CARDS:
            netdev.add_bridge(f"br{number}", address(number, HOST))

    def boot_with(self, name, end):
        definition = debian.debian(name, cpus=1)
        definition["sources"][0]["text"] = definition["sources"][0]["text"].replace(
            "initrd.img", "initrd-disk.img") + "".join(
                f"vdev virtio-net name net{number} tap vm{end}-{number},{bridge} "
                f"mac {mac(number, end)} {card}\n" for number, (bridge, card) in CARDS.items())
        self.qvmd.call("guest.define", name=name, definition=definition)
        self.qvmd.call("guest.start", name=name)

    def console(self, name, end):
        console = debian.Console(self.qvmd, name)
        self.addCleanup(console.close)
        console.wait_for_shell()
        console.run("load-modules", SECONDS)
        for number in CARDS:
            console.run(FIND.format(mac=mac(number, end)) +
                        f"ip addr add {address(number, end)}/24 dev $i && ip link set $i up")
        exchange.make_numbers(console, SIZE)
        return console

    def state(self, name, number):
        """What `qvmctl show` says of a card."""
        vdevs = self.qvmd.call("guest.show", name=name)["vdevs"]
        found = next(vdev for vdev in vdevs if vdev["name"] == f"net{number}")
        return {value["name"]: value["value"] for value in found["values"]}

    def assert_served(self, name):
        for number, (_, card) in CARDS.items():
            self.assertEqual(self.state(name, number)["back-end"],
                             "vhost-net" if "vhost on" in card else "qvm", number)

    def test_the_kernel_moves_the_frames_of_taps(self):
        for end, name in enumerate("ab"):
            self.boot_with(name, end)
        first, second = self.console("a", 0), self.console("b", 1)
        self.assert_served("a")
        for number in CARDS:
            with self.subTest(CARDS[number]):
                first.run(f"ping -c 2 -w 20 {address(number, 1)}", SECONDS)
                copy(first, second, address(number, 1))
                copy(second, first, address(number, 0))
                exchange.speak_with_host(self, first, address(number, HOST), SIZE)
        with self.subTest("a pause, and a qvmd that comes back"):
            self.qvmd.call("guest.pause", name="a")
            self.assertEqual(self.state("a", 1)["back-end"], "vhost-net")
            self.qvmd.restart()
            self.qvmd.call("guest.resume", name="a")
            for number in CARDS:
                first.run(f"ping -c 2 -w 20 {address(number, 1)}", SECONDS)
                copy(second, first, address(number, 0))
        with self.subTest("as many queues as its driver uses"):
            self.assertEqual(self.state("a", 3)["pairs"], "1 of 2")  # of one CPU
        with self.subTest("a driver that lets go, and another that comes"):
            device = first.run(FIND.format(mac=mac(1, 0)) +
                               "basename $(readlink -f /sys/class/net/$i/device)")
            device = re.findall(r"virtio\d+", device)[-1]
            driver = "/sys/bus/virtio/drivers/virtio_net"
            first.run(f"echo {device} >{driver}/unbind")
            self.assertEqual(self.state("a", 1)["back-end"], "vhost-net, at rest")
            first.run(f"echo {device} >{driver}/bind")
            first.run(FIND.format(mac=mac(1, 0)) +
                      f"ip addr add {address(1, 0)}/24 dev $i && ip link set $i up")
            copy(second, first, address(1, 0))
            self.assert_served("a")
        with self.subTest("nothing is left of a guest that ended"):
            for name in "ab":
                self.qvmd.call("guest.kill", name=name)
            self.assertFalse([name for name in netdev.devices() if name.startswith("vm")])
            self.assertFalse(threads_of_the_kernel())


def threads_of_the_kernel():
    """Those that work queues off: each is named after who has it."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="ascii") as comm:
            if (name := comm.read().strip()).startswith("vhost-"):
                found.append(name)
    return found


if __name__ == "__main__":
    debian.main()
