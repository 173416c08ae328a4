#!/usr/bin/python3
"""Two stock Debian guests with cables between them: what their drivers leave to the cards, what one
of them does not, and both; and with taps in a bridge of their host."""

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


HOST = "10.0.9.9"  # its address in the bridge


class NetTest(debian.DebianTest):
    settings = (*debian.DebianTest.settings, "tap vm* bridge br0")

    def boot_with(self, name, other, end):
        definition = debian.debian(name)
        definition["sources"][0]["text"] = definition["sources"][0]["text"].replace(
            "initrd.img", "initrd-disk.img") + "".join(
                f"vdev virtio-net name {pair} peer {other}/{pair} "
                f"mac 02:00:00:00:0{number}:0{end + 1} {offers[end]}\n"
                for number, (pair, offers) in enumerate(PAIRS.items())
        ) + f"vdev virtio-net name bridged tap vm{end},br0 mac 02:00:00:00:09:0{end + 1}\n"
        self.qvmd.call("guest.define", name=name, definition=definition)

    def console(self, name, end):
        console = debian.Console(self.qvmd, name)
        self.addCleanup(console.close)
        console.wait_for_shell()
        console.run("load-modules", SECONDS)
        for number in (*range(len(PAIRS)), 9):
            console.run(f"i=$(grep -l 02:00:00:00:0{number}:0{end + 1} /sys/class/net/*/address); "
                        f"i=${{i%/address}}; i=${{i##*/}}; "
                        f"ip addr add 10.0.{number}.{end + 1}/24 dev $i && ip link set $i up")
        return console

    def test_debian_guests_speak_to_each_other_over_cables(self):
        subprocess.run(["modprobe", "bridge"], check=True)
        netdev.add_bridge("br0", HOST)
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
        with self.subTest("bridge"):
            first.run("ping -c 2 -w 20 10.0.9.2", SECONDS)
            self.copy(first, second, "10.0.9.2")
            self.speak_with_host(first)
        with self.subTest("after a guest came back"):
            self.qvmd.call("guest.kill", name="b")
            self.qvmd.restart()
            self.qvmd.call("guest.start", name="b")
            second = self.console("b", 1)
            first.run("ping -c 2 -w 20 10.0.0.2", SECONDS)
            first.run("ping -c 2 -w 20 10.0.9.2", SECONDS)
            second.run(f"ping -c 2 -w 20 {HOST}", SECONDS)

    def speak_with_host(self, console):
        """What the guest sends its host comes back, and is the same."""
        with socket.create_server((HOST, 7000)) as server:
            server.settimeout(SECONDS)
            console.begin(f"nc {HOST} 7000 </numbers >/copy; cmp /copy /numbers && rm /copy")
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
        receiver.begin("nc -l -p 7000 >/copy; cmp /copy /numbers && rm /copy")
        sender.run(f"until nc {address} 7000 </numbers; do sleep 0.2; done", SECONDS)
        receiver.finish(SECONDS)


if __name__ == "__main__":
    debian.main()
