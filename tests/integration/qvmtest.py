"""Tests with a qvmd of their own, and the invariants that hold after every fault. QVM_BUILD names the
build directory.

    class MyTest(QvmdTest):
        def test_something(self):
            self.qvmd.call("guest.start", name="a", definition=bare("a"))
"""

import contextlib
import functools
import os
import re
import subprocess
import sys
import time
import types
import unittest

import evidence
from own_qvmd import QVM, QVMD, VDEVS, Qvmd, command, is_spare, start_ticks
from rpc import BUILD, DEVICES, GUESTS, IMAGE, TIMEOUT, Client, Refused, bare, definition

__all__ = [  # what test files want, from one place
    "BUILD", "DEVICES", "GUESTS", "IMAGE", "QVM", "QVMD", "SKIPPED", "TIMEOUT", "VDEVS",
    "Client", "LeavesNothingTest", "Qvmd", "QvmdTest", "Refused", "bare", "command", "definition", "is_spare",
    "main", "start_ticks"]
SKIPPED = 77


class QvmdTest(unittest.TestCase):
    """A test with a qvmd of its own; the invariants are asserted at its end."""

    settings = ()
    worker = QVM
    crashing = False
    stands_back = False  # guests would wait for whatever else the host does, other tests included

    def __init__(self, method="runTest"):
        """The test is wrapped: cleanups do not hear how it ended, and come too late."""
        super().__init__(method)
        test = getattr(self, method)

        @functools.wraps(test)
        def run(_):
            with self.telling():
                test()

        setattr(self, method, types.MethodType(run, self))  # as unittest knows them

    @contextlib.contextmanager
    def telling(self):
        """What fails in here tells how everything stands at that moment."""
        try:
            yield
        except unittest.SkipTest:
            raise
        except BaseException:
            sys.stderr.write(evidence.collect(self.qvmd))
            raise

    @contextlib.contextmanager
    def subTest(self, *words, **more):
        with super().subTest(*words, **more), self.telling():
            yield

    def setUp(self):
        nice = () if self.stands_back else ("guest-nice 0",)
        self.qvmd = Qvmd(*nice, *self.settings, worker=self.worker, crashing=self.crashing)
        self.addCleanup(self.finish)

    def finish(self):
        self.qvmd.end()
        log = self.qvmd.log()
        self.qvmd.close()
        for words in ("Sanitizer", "runtime error"):  # in builds that look for such things
            self.assertNotIn(words, log, log)

    def start(self, name, *words, **more):
        """Start the bare guest under that name."""
        return self.qvmd.call("guest.start", name=name,
                              definition=bare(name, *words, **more))["guest"]

    def start_deaf(self, name, how="hang"):
        """A guest that hears no power button any more."""
        guest = self.start(name, run=how)
        self.assert_console(name, "deaf")
        return guest

    def refused(self, error, method, /, **params):
        """The call is refused under this stable name; returns the sentence."""
        with self.assertRaises(Refused) as caught:
            self.qvmd.call(method, **params)
        self.assertEqual(caught.exception.name, error, caught.exception.message)
        return caught.exception.message

    def eventually(self, check, what, within=5):
        """`check` becomes true, and soon; else `what`, words or what makes them at the end."""
        end = time.monotonic() + within
        while not check():
            if time.monotonic() >= end:
                self.fail(what() if callable(what) else what)
            time.sleep(0.005)

    def said(self, name):
        """What the guest has said, without the marks of pauses, which may fall into its words."""
        return re.sub(r"\r?\n-- qvm: [^\n]* --\r?\n", "", self.qvmd.console(name))

    def assert_console(self, name, text, within=20):
        def said():
            try:
                return text in self.qvmd.console(name)
            except Refused:  # a new qvmd may not have found it yet
                return False

        self.eventually(said, f"{name} never said {text!r}", within)

    def ctl(self, *words):
        """What `qvmctl WORDS` says, and how it ends."""
        return subprocess.run([os.path.join(BUILD, "cli", "qvmctl"), "--socket", self.qvmd.socket,
                               *words], capture_output=True, text=True, timeout=60, check=False)

    def act(self, verb, name="a", **params):
        return self.qvmd.call(f"guest.{verb}", name=name, **params)

    def start_and_wait(self, name="a", **more):
        guest = self.start(name, **more)
        self.assert_console(name, "> ")
        return guest

    def assert_runs_on(self, before):
        """It is the same process, and it listens to us."""
        name = before["name"]
        self.eventually(self.is_found(name), "not adopted")
        after = self.qvmd.guest(name)
        for member in ("pid", "instance", "started", "memory", "vcpus"):
            self.assertEqual(after[member], before[member], member)
        self.assert_console(name, "> ")  # what is typed before it reads is forgotten
        self.qvmd.type(name, "echo still_here\r")
        self.assert_console(name, "\nstill_here")

    def is_found(self, name):
        """Whether the qvmd of now has adopted it."""
        def check():
            news = [event["what"] for event in self.qvmd.events()
                    if event["what"] == "daemon-start" or event.get("guest") == name]
            return "adopted" in news[len(news) - news[::-1].index("daemon-start"):]
        return check

    # ---- the invariants of docs/design.md, by their numbers ----

    def assert_one_holder(self):  # I1
        twice = self.qvmd.rows(
            "SELECT a.kind, a.resource FROM claim a JOIN claim b ON a.kind = b.kind"
            " AND a.resource = b.resource AND a.instance < b.instance"
            " WHERE (a.is_exclusive OR b.is_exclusive)")
        self.assertEqual(twice, [], "I1: a resource has two holders")

    def assert_workers_are_known(self):  # I2, I3
        def rows():
            return {pid: ticks for pid, ticks in self.qvmd.rows(
                "SELECT pid, start_ticks FROM instance WHERE state IN ('starting', 'running',"
                " 'paused', 'stopping', 'unreachable', 'stuck')")}

        end = time.monotonic() + 1
        while True:
            workers = {pid: start_ticks(pid) for pid in self.qvmd.workers()}
            known = rows()
            if known == workers:
                return
            if time.monotonic() > end:
                break
            time.sleep(0.01)
        self.assertEqual(known, workers, "I2, I3: rows and processes differ: " +
                         self.tell_of(workers))

    def tell_of(self, pids):
        """Rows, and what the kernel says of processes, for somebody who looks for the reason."""
        told = [str(self.qvmd.rows("SELECT id, guest, pid, start_ticks, state, reason, message"
                                   " FROM instance ORDER BY id DESC LIMIT 3"))]
        for pid in pids:
            for name in ("cmdline", "wchan", "status"):
                try:
                    with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as file:
                        told.append(file.read().replace("\0", " ")[:400])
                except OSError as error:
                    told.append(str(error))
        return "\n".join(told)

    def assert_dead_hold_nothing(self, within=5):  # I4
        def held():
            return self.qvmd.rows(
                "SELECT instance.guest, instance.id, claim.kind, claim.name FROM claim"
                " JOIN instance ON instance.id = claim.instance"
                " WHERE instance.state IN ('stopped', 'failed')")

        self.eventually(lambda: held() == [], lambda: f"I4: a dead instance holds {held()}", within)

    def assert_no_gap(self):  # I7
        numbers = [event["seq"] for event in self.qvmd.events()]
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)), "I7: events have a gap")

    def assert_invariants(self):
        self.assert_one_holder()
        self.assert_workers_are_known()
        self.assert_dead_hold_nothing()
        self.assert_no_gap()
        self.eventually(lambda: len(self.qvmd.directories()) == len(self.qvmd.workers()),
                        lambda: f"I8: directories {self.qvmd.directories()}, "
                                f"processes {self.qvmd.workers()}")

    def measure(self):
        """What must return to its start value (I8)."""
        self.qvmd.call("guest.list")
        time.sleep(0.05)  # for connections that are just being closed
        self.qvmd.settle()
        return {"descriptors": self.qvmd.descriptors(), "children": len(self.qvmd.children()),
                "directories": self.qvmd.directories(), "workers": self.qvmd.workers()}

    def steady(self):
        """measure(), when it has not changed for a while: of a guest that ended just now something
        may still be there."""
        now, since = self.measure(), time.monotonic()
        while time.monotonic() - since < 0.5:
            before, now = now, self.measure()
            since = since if now == before else time.monotonic()
        return now

    def assert_returns_to(self, before, within=5):
        end = time.monotonic() + within
        while (now := self.measure()) != before and time.monotonic() < end:
            pass
        self.assertEqual(now, before, "I8: something is left")


class LeavesNothingTest(QvmdTest):
    """Whatever is done to its guests: when they are killed, all is as it was."""

    def setUp(self):
        super().setUp()
        self.before = self.measure()

    def tearDown(self):
        self.assert_invariants()
        for name in self.qvmd.guests():
            self.qvmd.call("guest.kill", name=name)
        self.assert_returns_to(self.before)


def main():
    """For test files: skip loudly where the machine cannot do it."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("SKIPPED: /dev/kvm is missing or not writable; nothing of this file was tried")
        sys.exit(SKIPPED)
    unittest.main()
