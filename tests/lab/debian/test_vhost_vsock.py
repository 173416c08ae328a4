#!/usr/bin/python3
"""Stock Debian guests whose vsocks are the host's kernel's (vhost-vsock): programs of the host
reach them by their CIDs, and they reach the host's; nobody else has a CID meanwhile."""

import contextlib
import fcntl
import grp
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import debian  # noqa: E402: only after the line above
import qvmtest  # noqa: E402: debian has said where it is

SECONDS = 120
PORT = 7000
SIZE = 1 << 20
PLACE = "feb00000 16"
CIDS = {"a": 7, "b": 8}
NODE = "/dev/vhost-vsock"
SET_GUEST_CID = 0x4008AF60  # VHOST_VSOCK_SET_GUEST_CID of linux/vhost.h
BUSY = 8  # qvmctl's status: somebody else has it
NOBODY, OPERATORS = 65534, "users"  # a user who is in that group
LINE = "vdev virtio-vsock name sockets vhost on cid {}\n"


def numbers(first):
    """As many bytes as are sent: `seq FIRST 999999999 | head -c SIZE`."""
    count = SIZE // len(str(first)) + 1
    return b"".join(b"%d\n" % number for number in range(first, first + count))[:SIZE]


class VhostVsockTest(debian.DebianTest):
    settings = (*debian.DebianTest.settings, f"operator-group {OPERATORS}")

    def define(self, name, cid):
        definition = debian.debian(name)
        disk = os.path.join(self.qvmd.top, "talk.img")
        if not os.path.exists(disk):  # the program that the guests talk with, as a disk
            with open(os.path.join(debian.BUILD, "tests/lab/talk"), "rb") as program:
                text = program.read()
            with open(disk, "wb") as image:
                image.write(text + bytes(-len(text) % 4096))
        definition["sources"][0]["text"] = definition["sources"][0]["text"].replace(
            "initrd.img", "initrd-disk.img") + (f"vdev virtio-blk hostdev <{disk}\n" +
                                                LINE.format(cid))
        self.qvmd.call("guest.define", name=name, definition=definition)
        return len(definition["sources"][0]["text"].splitlines())

    def start(self, name, cid):
        self.define(name, cid)
        self.qvmd.call("guest.start", name=name)

    def assert_refused(self, name, cid, why, status=1):
        """With the line that is to blame."""
        line = self.define(name, cid)
        said = self.ctl("start", name, status=status)
        self.assertRegex(said, rf"{name}\.qvmconf:{line}: {why}")

    def console(self, name):
        console = debian.Console(self.qvmd, name)
        self.addCleanup(console.close)
        self.make_ready(console)
        return console

    @staticmethod
    def make_ready(console):
        console.wait_for_shell()
        console.run("load-modules", SECONDS)
        console.run("cat /dev/vda >/talk && chmod +x /talk && "
                    f"seq 1000000 9999999 | head -c {SIZE} >/said", SECONDS)

    def state(self, name):
        """What `qvmctl show --vdevs` says of it; of a qvm that is late it says nothing."""
        found = []

        def is_told():
            vdevs = self.qvmd.call("guest.show", name=name).get("vdevs", [])
            found.extend(vdev["values"] for vdev in vdevs if vdev["name"] == "sockets")
            return found

        self.eventually(is_told, f"nothing is known of the sockets of {name}", within=SECONDS)
        return {value["name"]: value["value"] for value in found[0]}

    def hear(self, stream):
        stream.settimeout(SECONDS)
        heard = b""
        while some := stream.recv(65536):
            heard += some
        return heard

    def call_guest(self, console, cid, port):
        """The host begins; each says all of it, and then hears."""
        console.begin(f"/talk listen {port} </said >/heard")
        console.read_until("talk: listens")
        with socket.socket(socket.AF_VSOCK) as stream:
            stream.settimeout(SECONDS)
            stream.connect((cid, port))
            self.assertEqual(self.hear(stream), numbers(1000000))
            stream.sendall(numbers(2000000))
            stream.shutdown(socket.SHUT_WR)
            console.finish(SECONDS)
        console.run(f"seq 2000000 9999999 | head -c {SIZE} | cmp - /heard", SECONDS)

    def call_host(self, console, cid, port):
        """The guest begins."""
        with socket.socket(socket.AF_VSOCK) as server:
            server.bind((socket.VMADDR_CID_ANY, port))
            server.settimeout(SECONDS)
            server.listen()
            console.begin(f"/talk call {port} </said >/heard")
            stream, peer = server.accept()
            self.assertEqual(peer[0], cid)
            with stream:
                self.assertEqual(self.hear(stream), numbers(1000000))
                stream.sendall(numbers(3000000))
                stream.shutdown(socket.SHUT_WR)
                console.finish(SECONDS)
        console.run(f"seq 3000000 9999999 | head -c {SIZE} | cmp - /heard", SECONDS)

    def both_ways(self, console, cid, port):
        self.call_guest(console, cid, port)
        self.call_host(console, cid, port)

    def refuse_without_module(self):
        if not os.path.exists(NODE):
            self.assert_refused("c", 9, f"the host has no {NODE}: 'modprobe vhost_vsock'")
        subprocess.run(["modprobe", "vhost_vsock"], check=True)
        self.eventually(lambda: os.path.exists(NODE), "the module makes no node")

    def refuse_cid_of_another_program(self):
        with open(NODE, "rb+", buffering=0) as other:
            fcntl.ioctl(other, SET_GUEST_CID, struct.pack("Q", 9))
            self.assert_refused("c", 9, "another program of the host has the cid 9")

    def talk(self):
        for name, cid in CIDS.items():
            self.start(name, cid)
        self.consoles = {name: self.console(name) for name in CIDS}
        for name, cid in CIDS.items():
            self.assertEqual(self.state(name)["back-end"], "vhost-vsock")
            self.assertEqual(self.state(name)["cid"], str(cid))
            self.both_ways(self.consoles[name], cid, PORT)
        self.assertRegex(self.consoles["a"].run(f"! /talk call {PORT + 1} </dev/null 2>&1"),
                         "talk: call: Connection reset")

    def leave_the_node_to_its_permissions(self):
        """A guest of somebody's who may not open it; and of the same when he may."""
        definition = debian.debian("d")
        definition["sources"][0]["text"] += LINE.format(10)
        line = len(definition["sources"][0]["text"].splitlines())
        for mode, said in ((0o600, f"d.qvmconf:{line}: no permission to open {NODE}"), (0o666, "")):
            os.chmod(NODE, mode)
            self.assertIn(said, as_user(lambda: self.start_at(self.qvmd.socket, definition)))
        self.assertEqual(self.state("d")["cid"], "10")
        self.qvmd.call("guest.kill", name="d")
        os.chmod(NODE, 0o600)

    @staticmethod
    def start_at(path, definition):
        """What is wrong with it, or nothing."""
        with qvmtest.Client(path, timeout=SECONDS) as client:
            try:
                client.call("guest.start", name="d", definition=definition)
            except qvmtest.Refused as refused:
                return refused.message
        return ""

    def hold_cid_against_another_guest(self):
        pid = self.qvmd.guest("a")["pid"]
        self.assert_refused("c", 7, rf"'cid:7' is held by guest 'a' \(pid {pid}\)", BUSY)

    def pause_with_a_connection(self):
        """What is said meanwhile is not lost; nor is it with another qvmd."""
        console = self.consoles["a"]
        console.begin(f"/talk listen {PORT + 2} </dev/null >/heard")
        console.read_until("talk: listens")
        with socket.socket(socket.AF_VSOCK) as stream:
            stream.settimeout(SECONDS)
            stream.connect((CIDS["a"], PORT + 2))
            self.qvmd.call("guest.pause", name="a")
            stream.sendall(b"hello ")
            self.qvmd.restart()
            self.qvmd.call("guest.resume", name="a")
            stream.sendall(b"again\n")
            stream.shutdown(socket.SHUT_WR)
            console.finish(SECONDS)
        self.assertEqual(console.run("cat /heard"), "hello again\n")

    def connect_for_ever(self, console, cid, port):
        console.run(f"(sleep 9999 | /talk listen {port}) >/ever 2>&1 & "
                    "until grep -q listens /ever; do usleep 100000; done", SECONDS)
        stream = socket.socket(socket.AF_VSOCK)
        self.addCleanup(stream.close)
        stream.settimeout(SECONDS)
        stream.connect((cid, port))
        return stream

    def assert_over(self, stream):
        """What is sent to a driver that knows nothing of it ends it; this kernel says so as of a
        connection that was closed."""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            stream.sendall(b"still there?")
            self.assertEqual(stream.recv(1), b"")

    def begin_anew_with_another_driver(self):
        console = self.consoles["a"]
        driver = "/sys/bus/virtio/drivers/vmw_vsock_virtio_transport"
        device = re.findall(r"virtio\d+", console.run(f"ls {driver}"))[0]
        before = self.connect_for_ever(console, CIDS["a"], PORT + 5)
        console.run(f"echo {device} >{driver}/unbind", SECONDS)
        self.assertEqual(self.state("a")["back-end"], "vhost-vsock, at rest")
        console.run(f"echo {device} >{driver}/bind", SECONDS)
        self.assertEqual(self.state("a")["back-end"], "vhost-vsock")
        with before:
            self.assert_over(before)
        self.both_ways(console, CIDS["a"], PORT + 3)

    def free_cid_of_one_that_was_killed(self):
        pid = self.qvmd.guest("a")["pid"]
        with socket.socket(socket.AF_VSOCK) as server:
            server.bind((socket.VMADDR_CID_ANY, PORT + 4))
            server.settimeout(SECONDS)
            server.listen()
            self.consoles["a"].begin(f"/talk call {PORT + 4} </dev/null")
            stream, _ = server.accept()
            with stream:
                stream.settimeout(SECONDS)
                os.kill(pid, signal.SIGKILL)
                end = time.monotonic() + SECONDS
                with contextlib.suppress(OSError):  # a reset, or an end
                    while stream.recv(65536):
                        self.assertLess(time.monotonic(), end)
        self.eventually(lambda: self.qvmd.guest("a").get("pid") is None,
                        "the guest that was killed is still there")
        self.start("c", CIDS["a"])
        console = self.console("c")
        self.both_ways(console, CIDS["a"], PORT)
        self.both_ways(self.consoles["b"], CIDS["b"], PORT)  # which heard of none of this

    def bear_a_driver_that_keeps_no_rule(self):
        """Nor does anybody else: what it says to the kernel ends in a reset, after which one that
        keeps them finds all as it should be, also without messages for interrupts."""
        storms = ",".join(f"storm {PLACE} {seed} 3000" for seed in (1, 2, 3))
        self.start_bare("e", f"{storms},vsock {PLACE} listen {PORT} 99")
        self.both_ways(self.consoles["b"], CIDS["b"], PORT)
        self.assert_console("e", "vsock: cid 11", within=SECONDS)
        self.assertEqual(self.qvmd.console("e").count("storm: 3000 rounds, device 19 of 19"), 3)
        data = numbers(1)[:100000]
        for _ in range(2):
            with socket.socket(socket.AF_VSOCK) as stream:
                stream.settimeout(SECONDS)
                stream.connect((11, PORT))
                speaker = threading.Thread(target=say_all, args=(stream, data))
                speaker.start()
                self.assertEqual(self.hear(stream), data)
                speaker.join()
        self.both_ways(self.consoles["b"], CIDS["b"], PORT)
        self.qvmd.call("guest.kill", name="e")

    def start_bare(self, name, run):
        self.qvmd.call("guest.start", name=name, definition=qvmtest.bare(
            name, run=run.replace(" ", "_"), image=qvmtest.DEVICES,
            more="vdev virtio-vsock loc mem:feb00000,512 intr ioapic:16 vhost on cid 11\n"))

    def begin_anew_with_a_guest_that_was_reset(self):
        """Its driver finds what it had; who was connected hears of it when he sends."""
        console = self.consoles["b"]
        with self.connect_for_ever(console, CIDS["b"], PORT + 5) as before:
            self.qvmd.call("guest.reset", name="b")
            self.make_ready(console)
            self.assert_over(before)
        self.both_ways(console, CIDS["b"], PORT)

    def leave_nothing(self):
        for name in "bc":
            self.qvmd.call("guest.kill", name=name)
        self.eventually(lambda: not threads_of_the_kernel(), "the kernel works for nobody")

    def test_the_kernel_has_the_sockets_of_guests(self):
        self.in_turn(self.refuse_without_module, self.refuse_cid_of_another_program,
                     self.leave_the_node_to_its_permissions, self.talk,
                     self.hold_cid_against_another_guest, self.pause_with_a_connection,
                     self.hold_cid_against_another_guest,  # of an adopted one, too
                     self.begin_anew_with_another_driver, self.free_cid_of_one_that_was_killed,
                     self.bear_a_driver_that_keeps_no_rule,
                     self.begin_anew_with_a_guest_that_was_reset, self.leave_nothing)


def say_all(stream, data):
    stream.sendall(data)
    stream.shutdown(socket.SHUT_WR)


def as_user(task):
    """What `task` returns when NOBODY runs it: a text."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([grp.getgrnam(OPERATORS).gr_gid])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            text = task()
        except BaseException as error:  # pylint: disable=broad-except
            text = repr(error)
        os.write(write_fd, text.encode())
        os._exit(0)
    os.close(write_fd)
    with os.fdopen(read_fd) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return text


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
