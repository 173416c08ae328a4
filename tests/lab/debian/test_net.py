#!/usr/bin/python3
"""Two stock Debian guests with cables between them: what their drivers leave to the cards, what one
of them does not, and both; and the same with taps in bridges of their host."""

import os
import socket
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import debian  # noqa: E402: only after the line above
import netdev  # noqa: E402: debian has said where it is

SECONDS = 120
SIZE = 1 << 20

# Of each pair of cards: what the first and the second offer their drivers.
PAIRS = {"all": ("", ""), "sender": ("", "peerfeats 0"), "nothing": ("peerfeats 0", "peerfeats 0")}

# The same of cards in bridges of the host's.
BRIDGED = {8: ("br1", "peerfeats 0"), 9: ("br0", "")}
HOST = "10.0.9.9"  # its address in br0, with cards of number 9
CARDS = (*range(len(PAIRS)), *BRIDGED)
PORT = 7000
FIND = ("i=$(grep -l {mac} /sys/class/net/*/address); i=${{i%/address}}; i=${{i##*/}}; ")


def mac(number, end):
    return f"02:00:00:00:{number:02}:{end + 1:02}"


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
            console.run(f"seq 200000 | head -c {SIZE} >/numbers", SECONDS)
        for number, pair in enumerate(PAIRS):
            with self.subTest(pair):
                first.run(f"ping -c 2 -w 20 10.0.{number}.2", SECONDS)
                self.copy(first, second, f"10.0.{number}.2")
                self.copy(second, first, f"10.0.{number}.1")
        for number in BRIDGED:
            with self.subTest(bridge=number):
                first.run(f"ping -c 2 -w 20 10.0.{number}.2", SECONDS)
                self.copy(first, second, f"10.0.{number}.2")
                self.copy(second, first, f"10.0.{number}.1")
        with self.subTest("host"):
            self.speak_with_host(first)
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

    def speak_with_host(self, console):
        """What the guest sends its host comes back, and is the same."""
        with socket.create_server((HOST, PORT)) as server:
            server.settimeout(SECONDS)
            console.begin(f"nc {HOST} {PORT} </numbers >/copy; cmp /copy /numbers && rm /copy")
            peer, _ = server.accept()
            with peer:
                peer.settimeout(SECONDS)
                data = b""
                while len(data) < SIZE and (more := peer.recv(1 << 16)):
                    data += more
                peer.sendall(data)
            console.finish(SECONDS)
        self.assertEqual(len(data), SIZE)

    def copy(self, sender, receiver, address):
        """By TCP, and all of it is there."""
        receiver.begin(f"nc -l -p {PORT} >/copy; cmp /copy /numbers && rm /copy")
        sender.run(f"until nc {address} {PORT} </numbers; do sleep 0.2; done", SECONDS)
        receiver.finish(SECONDS)


if __name__ == "__main__":
    debian.main()
