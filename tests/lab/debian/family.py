"""What a Debian guest makes of the smaller virtio devices; it shares its boot with its disks."""

import os
import re
import shutil
import socket
import threading
import time

SECONDS = 120
MIB = 1 << 20

PORT = 7000


def vdevs(directory):
    return ("vdev virtio-entropy packed on\nvdev virtio-balloon\n"
            f"vdev virtio-input name desk\nvdev virtio-vsock cid 9 listen {directory}/vsock\n")


def give_programs(build, folder):
    """What the guest finds in a folder that it shares with the host."""
    shutil.copy(os.path.join(build, "tests/lab/talk"), folder)


def entropy(test, console, _name):
    test.assertEqual(console.run("dd if=/dev/hwrng bs=16 count=1 2>/dev/null | wc -c"), "16\n")


def state(test, guest, vdev):
    """What `qvmctl show --vdevs` says of it; of a qvm that is late it says nothing."""
    found = []

    def is_told():
        vdevs = test.qvmd.call("guest.show", name=guest).get("vdevs", [])
        found.extend(row["values"] for row in vdevs if row["name"] == vdev)
        return found

    wait(test, is_told, f"nothing is known of {vdev}")
    return {row["name"]: row["value"] for row in found[0]}


def resident(test, name):
    """Bytes of the guest's memory that the host has pages for."""
    pid = test.qvmd.guest(name)["pid"]
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssShmem:")) * 1024


def wait(test, check, what):
    """As `eventually`, for what costs the guest a look at each turn."""
    end = time.monotonic() + SECONDS
    while not check():
        test.assertLess(time.monotonic(), end, what)
        time.sleep(0.3)


def balloon(test, console, name):
    """What the guest has free is the host's by itself, what it is asked for as well, and comes
    back."""
    def number(value):
        return int(state(test, name, "virtio-balloon").get(value, "-1"))

    console.run("dd if=/dev/zero of=/filled bs=1M count=32 2>/dev/null", SECONDS)
    filled = resident(test, name)
    test.assertGreater(filled, 32 * MIB)
    console.run("rm /filled")
    wait(test, lambda: resident(test, name) < filled - 16 * MIB, "what was free is still here")
    test.assertGreater(number("reported"), 16 * MIB)
    test.ctl("balloon", name, "16M")
    wait(test, lambda: number("size") == 16 * MIB, "the balloon does not grow")
    test.assertGreaterEqual(number("given-back"), 16 * MIB)
    wait(test, lambda: 0 < number("free") < number("guest-total") < 256 * MIB, "no figures")
    test.ctl("balloon", name, "0")
    wait(test, lambda: number("size") == 0, "the balloon does not shrink")


def pointer(test, console, name):
    """The guest's own driver tells where it is pointed at, and of buttons: 7 events of 24 bytes."""
    device = console.run("grep -l '^desk$' /sys/class/input/event*/device/name").split("/")[4]
    console.run(f"dd if=/dev/input/{device} of=/told bs=24 count=7 2>/dev/null & "
                f"until ls -l /proc/$!/fd | grep -q {device}; do usleep 100000; done", SECONDS)
    test.ctl("sendkey", name, "mouseleft")
    test.ctl("point", name, "50", "100")
    said = console.run("wait; od -A n -v -t d2 -w24 /told", SECONDS)
    rows = re.findall(r"(?m)^(?:\s*-?\d+){8}\s*(\d+)\s*(\d+)\s*(\d+)\s*0$", said)
    told = [tuple(map(int, row)) for row in rows]
    test.assertEqual([event for event in told if event[0] != 0],
                     [(1, 272, 1), (1, 272, 0), (3, 0, 16384), (3, 1, 32767)])


def numbers(first):
    return b"".join(b"%d\n" % number for number in range(first, first + 40000))


def hear_and_say(stream, said):
    """Say that in a thread of its own, and hear until the other end has ended."""
    def say():
        stream.sendall(said)
        stream.shutdown(socket.SHUT_WR)

    speaker = threading.Thread(target=say)
    speaker.start()
    heard = b""
    while some := stream.recv(65536):
        heard += some
    speaker.join()
    stream.close()
    return heard


def sockets(test, console, _name):
    """Streams that the host begins, and streams that the guest begins, each with bytes both ways;
    a port of the host where nobody listens."""
    path = os.path.join(test.qvmd.top, "vsock")
    console.run("mkdir -p /files && mount -t virtiofs files /files && cp /files/talk /talk && "
                "umount /files && seq 40000 >/said", SECONDS)
    console.begin(f"/talk listen {PORT} </said >/heard")
    console.read_until("talk: listens")
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(SECONDS)
        stream.connect(path)
        stream.sendall(b"CONNECT %d\n" % PORT)
        line = b""
        while not line.endswith(b"\n"):
            line += stream.recv(1)
        test.assertRegex(line, rb"^OK [0-9]+\n$")
        test.assertEqual(hear_and_say(stream, numbers(100000)), numbers(1))
    console.finish(SECONDS)
    console.run("seq 100000 139999 | cmp - /heard", SECONDS)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{path}_{PORT}")
        server.settimeout(SECONDS)
        server.listen()
        console.begin(f"/talk call {PORT} </said >/heard")
        stream, _ = server.accept()
        stream.settimeout(SECONDS)
        test.assertEqual(hear_and_say(stream, numbers(200000)), numbers(1))
        console.finish(SECONDS)
    console.run("seq 200000 239999 | cmp - /heard", SECONDS)
    test.assertIn("talk: call: Connection reset",
                  console.run(f"! /talk call {PORT + 1} </dev/null 2>&1", SECONDS))


CHECKS = (entropy, balloon, pointer, sockets)
