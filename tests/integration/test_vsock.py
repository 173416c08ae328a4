#!/usr/bin/env python3
"""Sockets between guest and host (vdev virtio-vsock), on the real /dev/kvm."""

import contextlib
import os
import re
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import threading
import time

from qvmtest import QvmdTest, Refused, main
from test_virtio import BUILD, QVM, Typed, VirtioTest

DEVICES = os.path.join(BUILD, "tests/guests/bare/devices.bzimage")
PLACE = "feb00000 16"
VDEV = "virtio-vsock loc mem:feb00000,512 intr ioapic:16 cid 9 listen s"


def eventually(condition, what):
    end = time.monotonic() + 60
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"never: {what}")
        time.sleep(0.02)


def connect(path, port):
    """A program of the host: the stream after OK, and the port that it was told."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(60)
    client.connect(path)
    client.sendall(b"CONNECT %d\n" % port)
    line = b""
    while not line.endswith(b"\n"):
        byte = client.recv(1)
        if not byte:
            client.close()
            return None, line
        line += byte
    return client, line


def talk(client, data):
    """Say `data` and end; what came back until the other end had ended, too."""
    def say():
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)

    speaker = threading.Thread(target=say)
    speaker.start()
    heard = b""
    while some := client.recv(65536):
        heard += some
    speaker.join()
    client.close()
    return heard


class VsockAloneTest(VirtioTest):
    def start(self, *commands):
        words = ",".join(command.replace(" ", "_") for command in commands)
        with open(self.path("t.qvmconf"), "w", encoding="utf-8") as file:
            file.write(f'system t\nram 16M\nload {DEVICES}\ncmdline "run={words}"\n'
                       f"vdev ser8250\nvdev {VDEV}\n")

    def test_bytes_go_both_ways_and_the_ends_are_told(self):
        self.start()
        guest = Typed(self)
        guest.process.stdin.write(f"vsock {PLACE} listen 42 2\r".encode())
        guest.process.stdin.flush()
        guest.read_until(b"vsock: cid 9")
        for size in (5, 100000):
            data = bytes(i * 7 % 251 for i in range(size))
            client, line = connect(self.path("s"), 42)
            self.assertRegex(line, rb"^OK [0-9]+\n$")
            self.assertEqual(talk(client, data), data)
            guest.read_until(b"vsock: %d bytes" % size)
        guest.read_until(b"\r\n> ")
        guest.process.send_signal(signal.SIGUSR1)
        said = b""
        while b"sent-bytes" not in said:
            said += os.read(guest.process.stderr.fileno(), 65536)
        self.assertRegex(said.decode(), r"connections-made\W+2\b")

    def test_a_port_of_the_guest_where_nobody_listens_is_closed(self):
        self.start()
        guest = Typed(self)
        guest.process.stdin.write(f"vsock {PLACE} listen 42 1\r".encode())
        guest.process.stdin.flush()
        guest.read_until(b"vsock: cid 9")
        self.assertEqual(connect(self.path("s"), 43), (None, b""))
        client, _ = connect(self.path("s"), 42)
        self.assertEqual(talk(client, b"x"), b"x")

    def test_of_many_that_wait_each_is_heard_when_it_speaks(self):
        self.start()
        guest = Typed(self)
        guest.process.stdin.write(f"vsock {PLACE} listen 42 1\r".encode())
        guest.process.stdin.flush()
        guest.read_until(b"vsock: cid 9")
        silent = []
        for _ in range(40):
            client = socket.socket(socket.AF_UNIX)
            self.addCleanup(client.close)
            client.settimeout(60)
            client.connect(self.path("s"))
            silent.append(client)
        self.assertEqual(connect(self.path("s"), 43), (None, b""))  # so all before it were taken
        for client in silent:
            client.sendall(b"CONNECT 43\n")
            self.assertEqual(client.recv(1), b"")

    def test_a_port_of_the_host_is_reset(self):
        self.start(f"vsock {PLACE} call 1024", "poweroff")
        done = subprocess.run([QVM, "@t.qvmconf"], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=100, cwd=self.directory, check=False,
                              env={"QVM_VDEVS": os.path.join(BUILD, "vdevs")})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"vsock: reset after 0 bytes", done.stdout)

    def test_the_socket_is_its_users_alone_and_goes_with_the_qvm_however_it_ends(self):
        self.start()
        for end in (signal.SIGTERM, signal.SIGKILL):
            guest = Typed(self)
            self.assertTrue(stat.S_ISSOCK(os.stat(self.path("s")).st_mode))
            self.assertEqual(os.stat(self.path("s")).st_mode & 0o077, 0)
            guest.process.send_signal(end)
            guest.process.wait(60)
            eventually(lambda: not os.path.exists(self.path("s")), "the socket is removed")

    def test_what_is_there_is_not_taken_and_what_is_left_is(self):
        self.start()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path("s"))
        listener.listen()
        self.assertRegex(self.refused(), r"t.qvmconf:6: somebody listens at '.*/s' already")
        listener.close()
        Typed(self).close()
        eventually(lambda: not os.path.exists(self.path("s")), "the socket is removed")
        with open(self.path("s"), "w", encoding="utf-8"):
            pass
        self.assertRegex(self.refused(), r"t.qvmconf:6: '.*/s' is there already, and is no socket: give another path")

    def test_an_address_of_the_kernels_needs_its_node(self):
        self.start()
        with open(self.path("t.qvmconf"), "r+", encoding="utf-8") as file:
            text = file.read().replace("cid 9 listen s", f"cid {os.getpid() + 3} vhost on")
            file.seek(0)
            file.write(text)
            file.truncate()
        if has_kernel():
            Typed(self).close()
        else:
            self.assertRegex(self.refused(), "t.qvmconf:6: (the host has no|no permission to open) "
                             f"{NODE}.*with 'vhost off' the vsock does without")

    def refused(self):
        done = subprocess.run([QVM, "@t.qvmconf"], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=100, cwd=self.directory, check=False,
                              env={"QVM_VDEVS": os.path.join(BUILD, "vdevs")})
        self.assertNotEqual(done.returncode, 0)
        return done.stderr.decode()


class UnderQvmdBase(QvmdTest):
    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory(prefix="qvm-vsock-")
        self.addCleanup(directory.cleanup)
        self.socket = os.path.join(directory.name, "s")

    def tearDown(self):
        self.assert_invariants()

    def start_with(self, name="a", run=f"vsock {PLACE} listen 42 99"):
        more = (f"vdev virtio-vsock loc mem:feb00000,512 intr ioapic:16 cid 9 "
                f"listen {self.socket}\n")
        return self.start(name, image=DEVICES, run=run.replace(" ", "_"), more=more)

    def assert_talks(self):
        client, line = connect(self.socket, 42)
        self.assertRegex(line, rb"^OK [0-9]+\n$")
        self.assertEqual(talk(client, b"x" * 5000), b"x" * 5000)

    def listen_at(self, port):
        """A program of the host that the guest finds at that port."""
        server = socket.socket(socket.AF_UNIX)
        self.addCleanup(server.close)
        server.bind(f"{self.socket}_{port}")
        server.settimeout(60)
        server.listen()
        return server

    def accept(self, server):
        """The next connection at which the guest says hello; one may end while it is made."""
        while True:
            client, _ = server.accept()
            client.settimeout(60)
            heard = b""
            while len(heard) < 5 and (some := client.recv(5 - len(heard))):
                heard += some
            if heard:
                self.assertEqual(heard, b"hello")
                return client
            client.close()


class VsockUnderQvmdTest(UnderQvmdBase):
    def test_a_path_is_one_guests_and_is_removed_at_its_end(self):
        pid = self.start_with()["pid"]
        self.assert_console("a", "cid 9")
        self.assertEqual(os.stat(self.socket).st_mode & 0o077, 0)
        self.assert_talks()
        with self.assertRaises(Refused):
            self.start_with("b")
        self.assertRegex(self.qvmd.guest("b")["message"],
                         rf":\d+: socket '{self.socket}' is held by guest 'a' \(pid {pid}\)")
        self.assert_talks()
        self.qvmd.call("guest.kill", name="a")
        self.eventually(lambda: not os.path.exists(self.socket), "it is not removed", within=20)
        self.eventually(lambda: not self.qvmd.call("guest.show", name="a").get("claims"),
                        "it holds on to it", within=20)
        self.start_with("b")
        self.assert_console("b", "cid 9")
        self.assert_talks()
        self.qvmd.call("guest.kill", name="b")
        self.eventually(lambda: not os.path.exists(self.socket), "it is not removed", within=20)

    def test_connections_and_the_path_outlive_a_killed_qvmd(self):
        self.start_with()
        self.assert_console("a", "cid 9")
        client, _ = connect(self.socket, 42)
        self.qvmd.crash()
        client.sendall(b"hello")
        self.assertEqual(client.recv(5), b"hello")
        client.close()
        self.assert_talks()
        self.qvmd.start()
        self.eventually(self.is_found("a"), "it is not adopted", within=20)
        self.assert_talks()
        self.qvmd.call("guest.kill", name="a")
        self.eventually(lambda: not os.path.exists(self.socket), "it is not removed", within=20)

    def test_the_guest_talks_to_a_program_of_the_host(self):
        server = self.listen_at(1024)
        pid = self.start_with(run=f"vsock {PLACE} call 1024")["pid"]
        client = self.accept(server)
        who = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        self.assertEqual(who[1], os.getuid())  # the guest's owner, whatever the qvm runs as
        client.sendall(b"good day")
        client.close()
        self.assert_console("a", "good day")
        self.assert_console("a", "vsock: reset after 8 bytes")
        self.assertNotIn(self.socket + "_", "".join(self.open_files(self.qvmd.process.pid)))
        self.assertEqual(self.qvmd.guest("a")["pid"], pid)

    @staticmethod
    def open_files(pid):
        with open("/proc/net/unix", encoding="utf-8") as file:
            named = {line.split()[6]: line for line in file if len(line.split()) > 7}
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                target = os.readlink(f"/proc/{pid}/fd/{fd}")
                yield named.get(target.removeprefix("socket:[").removesuffix("]"), "")

    def test_a_port_of_the_host_where_nobody_listens_is_reset(self):
        with open(f"{self.socket}_2", "w", encoding="utf-8"):
            pass
        bound = socket.socket(socket.AF_UNIX)
        self.addCleanup(bound.close)
        bound.bind(f"{self.socket}_3")
        os.symlink("/nowhere", f"{self.socket}_4")
        self.start_with(run=",".join(f"vsock {PLACE} call {port}" for port in range(1, 5)))
        self.eventually(lambda: self.said("a").count("vsock: reset after 0 bytes") == 4,
                        "it is not reset", within=20)

    def refused_calls(self):
        vdevs = self.qvmd.call("guest.show", name="a")["vdevs"]
        return next(int(value["value"]) for vdev in vdevs if vdev["name"] == "virtio-vsock"
                    for value in vdev["values"] if value["name"] == "refused")

    def test_a_guest_that_calls_without_end_is_served_at_a_bounded_pace(self):
        began = time.monotonic()
        self.start_with(run=f"vsock {PLACE} calls 1024 1")
        self.start("b", image=DEVICES)  # and others are served meanwhile
        self.eventually(lambda: self.refused_calls() > 80, "it does not call", within=60)
        server = self.listen_at(1024)
        self.accept(server).close()
        self.assert_console("a", "vsock: call 1 after ")
        most = 64 + (time.monotonic() - began) / 0.025 + 1
        tries = int(re.search(r"call 1 after (\d+) tries", self.said("a")).group(1))
        self.assertGreater(tries, 80)
        self.assertLessEqual(tries, most)

    def test_calls_go_on_when_there_is_a_qvmd_again(self):
        server = self.listen_at(1024)
        self.start_with(run=f"vsock {PLACE} calls 1024 3")
        first = self.accept(server)
        self.qvmd.crash()
        first.close()  # the next ones find no qvmd, and are reset
        self.qvmd.start()
        self.accept(server).close()
        self.eventually(self.is_found("a"), "it is not adopted", within=20)
        self.assert_console("a", "vsock: call 2 after")
        self.qvmd.crash()
        self.qvmd.start()
        self.accept(server).close()
        self.assert_console("a", "vsock: call 3 after")

    def test_what_cannot_be_made_is_refused_with_the_line(self):
        with open(self.socket, "w", encoding="utf-8"):
            pass
        with self.assertRaises(Refused):
            self.start_with()
        self.assertRegex(self.qvmd.guest("a")["message"],
                         rf":\d+: '{self.socket}' is there already, and is no socket: give another path")
        self.socket = "/nowhere/at/all"
        with self.assertRaises(Refused):
            self.start_with("b")
        self.assertRegex(self.qvmd.guest("b")["message"],
                         r":\d+: cannot make the socket '/nowhere/at/all': No such file")


NODE = "/dev/vhost-vsock"


def has_kernel():
    """Whether this host's kernel may have vsocks; a node may be there without its module."""
    try:
        os.close(os.open(NODE, os.O_RDWR))
    except OSError:
        return False
    return True


class KernelTest(UnderQvmdBase):
    """On a host that has vhost-vsock, and on one that has not."""

    CID = os.getpid() + 3  # nobody else's guest has it

    def start_with_cid(self, name):
        return self.start(name, image=DEVICES, more="vdev virtio-vsock loc mem:feb00000,512 "
                          f"intr ioapic:16 vhost on cid {self.CID}\n")

    def test_an_address_is_one_guests_or_it_is_said_what_the_host_lacks(self):
        if not has_kernel():
            with self.assertRaises(Refused):
                self.start_with_cid("a")
            self.assertRegex(self.qvmd.guest("a")["message"],
                             rf"a.qvmconf:\d+: (the host has no|no permission to open) {NODE}")
            return
        pid = self.start_with_cid("a")["pid"]
        self.qvmd.crash()
        self.qvmd.start()
        self.eventually(self.is_found("a"), "it is not adopted", within=20)
        with self.assertRaises(Refused):
            self.start_with_cid("b")
        self.assertRegex(self.qvmd.guest("b")["message"],
                         rf":\d+: 'cid:{self.CID}' is held by guest 'a' \(pid {pid}\)")
        os.kill(pid, signal.SIGKILL)
        self.eventually(lambda: self.qvmd.guest("a").get("pid") is None, "it is still there",
                        within=20)
        self.start_with_cid("b")

    def test_one_vm_has_an_address_once(self):
        vdev = f"vdev virtio-vsock vhost on cid {self.CID} loc "
        with self.assertRaises(Refused):
            self.start("a", image=DEVICES, more=f"{vdev}mem:feb00000,512 intr ioapic:16\n"
                       f"{vdev}mem:feb01000,512 intr ioapic:17\n")
        self.assertRegex(self.qvmd.guest("a")["message"],
                         rf"'cid:{self.CID}' is asked for twice|(host has no|open) {NODE}")


class CrashTest(UnderQvmdBase):
    """qvmd is killed at each step of a connection that the guest began."""

    crashing = True
    settings = ("spares 0",)

    def test_the_guest_is_connected_or_may_call_again(self):
        for point in ("connected", "connection passed on"):
            with self.subTest(point):
                server = self.listen_at(1024)
                before = self.start_with(run=f"vsock {PLACE} calls 1024 3")
                first = self.accept(server)
                self.qvmd.arm(point)
                first.close()  # and the guest calls again
                self.qvmd.process.wait(60)
                self.assertEqual(self.qvmd.disarm()[-1], point)
                self.qvmd.start()
                for _ in range(2):
                    self.accept(server).close()
                self.eventually(self.is_found("a"), "it is not adopted", within=20)
                self.assert_console("a", "vsock: call 3 after")
                self.assertEqual(self.qvmd.guest("a")["pid"], before["pid"])
                self.qvmd.call("guest.kill", name="a")
                self.eventually(lambda: not os.path.exists(self.socket), "it is not removed", 20)
                server.close()
                os.unlink(f"{self.socket}_1024")
                self.qvmd.call("guest.undefine", name="a")


if __name__ == "__main__":
    main()
