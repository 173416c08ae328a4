"""What a Debian guest makes of the smaller virtio devices; it shares its boot with its disks."""

import re
import time

SECONDS = 120
MIB = 1 << 20

VDEVS = ("vdev virtio-entropy packed on\nvdev virtio-balloon\n"
         "vdev virtio-input name desk\n")


def entropy(test, console, _name):
    test.assertEqual(console.run("dd if=/dev/hwrng bs=16 count=1 2>/dev/null | wc -c"), "16\n")


def state(test, guest, vdev):
    """What `qvmctl show --vdevs` says of it."""
    vdevs = test.qvmd.call("guest.show", name=guest)["vdevs"]
    values = next(row["values"] for row in vdevs if row["name"] == vdev)
    return {row["name"]: row["value"] for row in values}


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


CHECKS = (entropy, balloon, pointer)
