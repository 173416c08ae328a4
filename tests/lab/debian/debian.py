"""What the tests of the stock Debian guest have in common. They run in the lab:

    tests/lab/run tests/lab/debian/test_NAME.py BUILD_DIR GUEST_DIR

BUILD_DIR holds the programs, GUEST_DIR what tests/guests/debian/make leaves."""

import contextlib
import faulthandler
import os
import re
import select
import subprocess
import sys
import threading
import time
import unittest

if len(sys.argv) != 3 or "LAB" not in os.environ:
    sys.exit(__doc__)
BUILD, GUEST = sys.argv[1:3]
os.environ["QVM_BUILD"] = BUILD
TREE = os.path.realpath(os.path.join(os.path.dirname(__file__), "../../.."))
sys.path.insert(0, os.path.join(TREE, "tests/integration"))
import evidence  # noqa: E402: only after the lines above
import lost  # noqa: E402
import qvmtest  # noqa: E402

READY = "guest: shell ready"
BOOT_SECONDS = 90  # on a busy machine; alone it takes 5
ANSWER_SECONDS = 30
LATE_SECONDS = 170  # soon the lab will end it, which takes all that could be told with it
PATTERN_MAX = 80  # no text that is waited for is longer
END_SECONDS = 3  # after which a qvm that has ended is known to have
STATUS_LOST = 75  # of sysexits.h: try again; tests/lab/run --lost

lost_guests = []


def debian(name, cpus=1, cmdline=""):
    """The definition of a stock Debian guest."""
    return qvmtest.definition(
        f"system {name}\n" + "cpu\n" * cpus + "ram 256M\n"
        f'cmdline "console=ttyS0 quiet {cmdline}"\n'
        f"load {GUEST}/vmlinuz\ninitrd load {GUEST}/initrd.img\n"
        "vdev ser8250\nvdev mc146818\nvdev pckeyboard\n", name=f"{name}.qvmconf")


class Console:
    """A session of somebody who types at a guest's console and reads all that it says."""

    def __init__(self, qvmd, name, **options):
        with qvmd.client() as client:
            client.call("console.attach", name=name, **options)
            self.fd = os.dup(client.fds[0])
        self.heard = ""
        self.commands = 0

    def close(self):
        os.close(self.fd)

    def send(self, text):
        data = text.encode()
        while data:
            data = data[os.write(self.fd, data):]

    def read_until(self, pattern, seconds=ANSWER_SECONDS):
        """Read until `pattern` matches; returns what was heard before it, and the match. Both are
        taken away."""
        end = time.monotonic() + seconds
        wanted = re.compile(pattern)
        seen = 0
        while (match := wanted.search(self.heard, max(0, seen - PATTERN_MAX))) is None:
            seen = len(self.heard)
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise AssertionError(f"no {pattern!r} after {seconds} s: {self.heard[-800:]!r}")
            data = os.read(self.fd, 1 << 16)
            if not data:
                raise AssertionError(f"the console ended without {pattern!r}: {self.heard[-800:]!r}")
            self.heard += data.decode("utf-8", "replace")
        before = self.heard[:match.start()]
        self.heard = self.heard[match.end():]
        return before, match

    def wait_for_shell(self):
        self.read_until(READY, BOOT_SECONDS)

    def begin(self, command):
        """Type a command; returns when the guest runs it."""
        self.commands += 1
        number = self.commands
        self.send(f"echo be''gin{number}; {command}; echo e''nd{number}=$?\n")
        self.read_until(rf"\nbegin{number}\r\n")

    def finish(self, seconds=ANSWER_SECONDS):
        """The output of the command that was begun; it must have succeeded."""
        output, match = self.read_until(rf"end{self.commands}=(\d+)\r\n", seconds)
        if match[1] != "0":
            raise AssertionError(f"exit status {match[1]}: {output}")
        return output.replace("\r\n", "\n")

    def run(self, command, seconds=ANSWER_SECONDS):
        self.begin(command)
        return self.finish(seconds)


def find_lost(qvmd):
    """The signs of guests that L1 lost. One that has just ended says so a moment later."""
    end = time.monotonic() + END_SECONDS
    while True:
        guests = qvmd.call("guest.list")["guests"]
        shown = [qvmd.call("guest.show", name=guest["name"]).get("vdevs") for guest in guests]
        signs = [sign for guest, vdevs in zip(guests, shown) if (sign := lost.sign(guest, vdevs))]
        if signs or time.monotonic() > end:
            return signs
        time.sleep(0.2)


class DebianTest(qvmtest.QvmdTest):
    """A test with a qvmd of its own that starts Debian guests."""

    @contextlib.contextmanager
    def telling(self):
        """Beside the evidence: whether L1 lost a guest."""
        with super().telling():
            try:
                yield
            except unittest.SkipTest:
                raise
            except BaseException:
                with contextlib.suppress(Exception):  # qvmd may be what is broken
                    lost_guests.extend(find_lost(self.qvmd))
                raise

    def setUp(self):
        super().setUp()
        late = threading.Timer(LATE_SECONDS, self.tell_that_it_is_late)
        late.daemon = True
        late.start()
        self.addCleanup(late.cancel)

    def tell_that_it_is_late(self):
        """Where it stands."""
        sys.stderr.write(f"after {LATE_SECONDS} s:\n{evidence.collect(self.qvmd)}")
        faulthandler.dump_traceback()

    def boot(self, name, cpus=1, cmdline=""):
        """Start a guest; returns it and its console when its shell is there."""
        guest = self.qvmd.call("guest.start", name=name,
                               definition=debian(name, cpus, cmdline))["guest"]
        console = Console(self.qvmd, name)
        self.addCleanup(console.close)
        console.wait_for_shell()
        return guest, console

    def in_turn(self, *steps):
        """One step after the other, up to the first that fails: who asks a guest that has died more
        questions waits in vain, and is over time before anything is told."""
        for step in steps:
            began = time.monotonic()
            step()
            name = getattr(step, "func", step).__name__
            print(f"{name}: {time.monotonic() - began:.1f} s", flush=True)

    def ctl(self, *words, status=0):
        """Run qvmctl, which must end with that status; returns what it said."""
        done = subprocess.run(
            [os.path.join(BUILD, "cli/qvmctl"), "--socket", self.qvmd.socket, *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=120, check=False)
        self.assertEqual(done.returncode, status, (words, done.stdout))
        return done.stdout

    def assert_nothing_left(self):
        """No process, no directory, no claim, and events without a gap."""
        self.assertEqual(self.qvmd.workers(), [])
        self.eventually(lambda: self.qvmd.directories() == [], "a directory is left behind")
        self.assert_invariants()
        pools = self.qvmd.call("host.info")["pools"]
        self.assertEqual([pool["claimed"] for pool in pools], [0, 0])


def main():
    """Run the tests of the calling file."""
    result = unittest.main(argv=sys.argv[:1], verbosity=2, exit=False).result
    for sign in lost_guests:
        print(f"L1 lost a guest: {sign}", file=sys.stderr)
    sys.exit(0 if result.wasSuccessful() else STATUS_LOST if lost_guests else 1)
