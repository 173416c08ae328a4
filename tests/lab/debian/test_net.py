#!/usr/bin/python3
"""Two stock Debian guests with cables between them: what their drivers leave to the cards, what one
of them does not, and both; and the same with taps in bridges of their host."""

import os
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import debian  # noqa: E402: only after the line above
import exchange  # noqa: E402
import netdev  # noqa: E402: debian has said where it is
from exchange import FIND, SECONDS, copy, mac  # noqa: E402

SIZE = 1 << 20

# Of each pair of cards: what the first and the second offer their drivers.
PAIRS = {"all": ("", ""), "sender": ("", "peerfeats 0"), "nothing": ("peerfeats 0", "peerfeats 0")}

# The same of cards in bridges of the host's.
BRIDGED = {8: ("br1", "peerfeats 0"), 9: ("br0", "")}
HOST = "10.0.9.9"  # its address in br0, with cards of number 9
CARDS = (*range(len(PAIRS)), *BRIDGED)


class NetTest(debian.DebianTest):
    settings = (*debian.DebianTest.settings, "tap vm* bridge br0 bridge br1")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        subprocess.run(["modprobe", "bridge"], check=True)
        netdev.add_bridge("br0", HOST)
        netdev.add_bridge("br1")

    def boot_with(self, name, other, end):
        definition = debian.debian(name)
        definition["sources"][0]["text"] = definition["sources"][0]["text"].replace(
            "initrd.img", "initrd-disk.img") + "".join(
                f"vdev virtio-net name {pair} peer {other}/{pair} "
                f"mac {mac(number, end)} {offers[end]}\n"
                for number, (pair, offers) in enumerate(PAIRS.items())
        ) + "".join(
            f"vdev virtio-net name bridged{number} tap vm{end}-{number},{bridge} "
            f"mac {mac(number, end)} {offers}\n" for number, (bridge, offers) in BRIDGED.items())
        self.qvmd.call("guest.define", name=name, definition=definition)

    def console(self, name, end):
        console = debian.Console(self.qvmd, name)
        self.addCleanup(console.close)
        console.wait_for_shell()
        console.run("load-modules", SECONDS)
        for number in CARDS:
            console.run(FIND.format(mac=mac(number, end)) +
                        f"ip addr add 10.0.{number}.{end + 1}/24 dev $i && ip link set $i up")
        return console

    def test_debian_guests_speak_to_each_other_over_cables(self):
        self.boot_with("a", "b", 0)
        self.boot_with("b", "a", 1)
        for name in "ab":
            self.qvmd.call("guest.start", name=name)
        first, second = self.console("a", 0), self.console("b", 1)
        for console in (first, second):
            exchange.make_numbers(console, SIZE)
        for number, pair in enumerate(PAIRS):
            with self.subTest(pair):
                first.run(f"ping -c 2 -w 20 10.0.{number}.2", SECONDS)
                copy(first, second, f"10.0.{number}.2")
                copy(second, first, f"10.0.{number}.1")
        for number in BRIDGED:
            with self.subTest(bridge=number):
                first.run(f"ping -c 2 -w 20 10.0.{number}.2", SECONDS)
                copy(first, second, f"10.0.{number}.2")
                copy(second, first, f"10.0.{number}.1")
        with self.subTest("host"):
            exchange.speak_with_host(self, first, HOST, SIZE)
        with self.subTest("after a guest came back"):
            self.qvmd.call("guest.kill", name="b")
            self.expect_carrier(first, 0)
            self.qvmd.restart()
            self.qvmd.call("guest.start", name="b")
            second = self.console("b", 1)
            first.run("ping -c 2 -w 20 10.0.0.2", SECONDS)
            self.expect_carrier(first, 1)
            first.run("ping -c 2 -w 20 10.0.9.2", SECONDS)
            second.run(f"ping -c 2 -w 20 {HOST}", SECONDS)

    def expect_carrier(self, console, carrier):
        """What its driver says of the first cable, some time; its tap is up all the while."""
        for number, wanted in ((0, carrier), (9, 1)):
            console.run(FIND.format(mac=mac(number, 0)) +
                        f"until grep -q {wanted} /sys/class/net/$i/carrier; do sleep 0.2; done",
                        SECONDS)


if __name__ == "__main__":
    debian.main()
