#!/usr/bin/python3
"""Stock Debian guests with the network of a user's programs (passt): a name is looked up, bytes go both
ways by TCP, and a ping is answered; with what a card does for its driver, and with nothing of it."""

import os
import socket
import struct
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import debian  # noqa: E402: only after the line above
import netdev  # noqa: E402: debian has said where it is

SECONDS = 60
SIZE = 1 << 20
PORT = 7000
NUMBERS = "".join(f"{number}\n" for number in range(1, 200001)).encode()[:SIZE]
HOST, ROUTER = "192.0.2.2", "192.0.2.1"
SERVER, NAME = "198.51.100.1", "server.example"  # at the host, but no address of the guest's
CARDS = {"on": "", "off": "peerfeats 0"}
PINGERS = "/proc/sys/net/ipv4/ping_group_range"  # who may ping, as Debian's systemd sets it for all


class Names:
    """A server of names that knows one, and has no other kind of answer."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((SERVER, 53))
        self.asked = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            query, peer = self.socket.recvfrom(512)
            name, at = [], 12
            while query[at] != 0:
                name.append(query[at + 1:at + 1 + query[at]].decode())
                at += 1 + query[at]
            kind, = struct.unpack_from(">H", query, at + 1)
            self.asked.append(".".join(name))
            is_known = ".".join(name) == NAME and kind == 1
            answer = query[:2] + struct.pack(">5H", 0x8180, 1, is_known, 0, 0) + query[12:at + 5]
            if is_known:
                answer += struct.pack(">HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(SERVER)
            self.socket.sendto(answer, peer)


class UserNetTest(debian.DebianTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        netdev.add_bridge("outside", HOST)
        netdev.add_bridge("far", SERVER)
        netdev.add_default_route(ROUTER)
        with open(PINGERS, "w", encoding="ascii") as file:
            file.write("0 2147483647")
        cls.names = Names()

    def boot_with(self, name, card):
        definition = debian.debian(name)
        definition["sources"][0]["text"] = definition["sources"][0]["text"].replace(
            "initrd.img", "initrd-disk.img") + f"vdev virtio-net name net user {card}\n"
        self.qvmd.call("guest.define", name=name, definition=definition)
        self.qvmd.call("guest.start", name=name)

    def console(self, name):
        console = debian.Console(self.qvmd, name)
        self.addCleanup(console.close)
        console.wait_for_shell()
        console.run("load-modules", SECONDS)
        console.run(f"ip addr add {HOST}/24 dev eth0 && ip link set eth0 up && "
                    f"ip route add default via {ROUTER}")
        console.run(f"seq 200000 | head -c {SIZE} >/numbers", SECONDS)
        return console

    def tell_server(self, console):
        """What the guest sends arrives, and is the same."""
        with socket.create_server((SERVER, PORT)) as server:
            server.settimeout(SECONDS)
            console.begin(f"nc {SERVER} {PORT} </numbers")
            peer, _ = server.accept()
            data = b""
            with peer:
                peer.settimeout(SECONDS)
                while more := peer.recv(1 << 16):
                    data += more
            console.finish(SECONDS)
        self.assertTrue(data == NUMBERS, f"{len(data)} bytes")

    def hear_server(self, console):
        """What the server sends arrives in the guest, and is the same."""
        with socket.create_server((SERVER, PORT)) as server:
            server.settimeout(SECONDS)
            console.begin(f"wget -q -O /copy http://{SERVER}:{PORT}/numbers; "
                          "cmp /copy /numbers && rm /copy")
            peer, _ = server.accept()
            with peer:
                peer.settimeout(SECONDS)
                request = b""
                while b"\r\n\r\n" not in request:
                    request += peer.recv(1 << 16)
                peer.sendall(f"HTTP/1.0 200 OK\r\nContent-Length: {SIZE}\r\n\r\n".encode() + NUMBERS)
            console.finish(SECONDS)

    def test_a_guest_reaches_what_its_owner_reaches(self):
        for name, card in CARDS.items():
            self.boot_with(name, card)
        for name in CARDS:
            with self.subTest(offloads=name):
                console = self.console(name)
                self.assertIn(SERVER, console.run(f"nslookup {NAME} {SERVER}", SECONDS))
                self.assertIn(NAME, self.names.asked)
                self.tell_server(console)
                self.hear_server(console)
                console.run(f"ping -c 2 -w 20 {SERVER}", SECONDS)


if __name__ == "__main__":
    debian.main()
