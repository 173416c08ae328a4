#!/usr/bin/env python3
"""CPU time: guests that run stand back, what the host does for them does not. Whoever runs these
tests may have a nice value himself: what is not a guest has the same."""

import os

from qvmtest import QvmdTest, main

NICE_FIELD = 19  # of proc(5), stat
GUEST_NICE = 10  # the default of guest-nice


def threads(pid):
    """The nice values of all its threads but those that are just ending."""
    values = set()
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/stat", encoding="utf-8") as file:
                values.add(int(file.read().rsplit(")", 1)[1].split()[NICE_FIELD - 3]))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return values


def session(pid):
    """The nice value of its session, or None: the kernel has no such thing, or who is not root
    does not set it, or the session is as old as the machine (such a file is empty)."""
    try:
        with open(f"/proc/{pid}/autogroup", encoding="utf-8") as file:
            words = file.read().split()
            return int(words[-1]) if words and os.geteuid() == 0 else None
    except FileNotFoundError:
        return None


ORDINARY = threads(os.getpid())


class NiceBase(QvmdTest):
    def running(self, name):
        return self.start(name, more="cpu\ncpu\n")["pid"]

    def assert_becomes(self, pid, values, of_session):
        """What a process is told by others comes a moment later."""
        def is_so():
            return threads(pid) == values and session(pid) in (None, of_session)

        try:
            self.eventually(is_so, "")
        except AssertionError:
            self.assertEqual((threads(pid), session(pid)), (values, of_session))


class NiceTest(NiceBase):
    stands_back = True

    def test_a_guest_stands_back_when_it_runs_and_its_spare_does_not(self):
        pid = self.running("web")
        self.assert_becomes(pid, {GUEST_NICE}, GUEST_NICE)
        self.eventually(self.qvmd.spares, "there is no spare")
        self.assert_becomes(self.qvmd.spares()[0], ORDINARY, 0)
        self.assertEqual(threads(self.qvmd.process.pid), ORDINARY)
        self.assertEqual(session(self.qvmd.process.pid), session(os.getpid()))
        self.assert_invariants()


def may_be_urgent():
    """Whether a process of ours may have a real-time priority."""
    child = os.fork()
    if child == 0:
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


class UrgentTest(NiceBase):
    def test_qvmd_comes_before_ordinary_processes_and_what_it_makes_does_not(self):
        if not may_be_urgent():
            self.assertIn("qvmd: waits for its turn as others do", self.qvmd.log())
            self.skipTest("nobody may have a real-time priority here")
        policy = os.sched_getscheduler(self.qvmd.process.pid)
        self.assertEqual(policy, os.SCHED_RR | os.SCHED_RESET_ON_FORK)
        pid = self.running("web")
        self.eventually(self.qvmd.spares, "there is no spare")
        for one in (pid, self.qvmd.spares()[0]):
            for thread in os.listdir(f"/proc/{one}/task"):
                self.assertEqual(os.sched_getscheduler(int(thread)), os.SCHED_OTHER)


class OrdinaryTest(NiceBase):
    settings = ("guest-nice 0", "real-time no")

    def test_with_no_qvmd_is_an_ordinary_process(self):
        self.assertEqual(os.sched_getscheduler(self.qvmd.process.pid), os.SCHED_OTHER)
        with open(self.qvmd.config, encoding="utf-8") as file:
            text = file.read()
        with open(self.qvmd.config, "w", encoding="utf-8") as file:
            file.write(text.replace("real-time no", "real-time yes"))
        note = self.qvmd.call("host.reload")["note"]
        self.assertEqual(note, "these want a restart of qvmd: real-time")

    def test_with_0_a_guest_is_an_ordinary_process(self):
        pid = self.running("web")
        self.assert_console("web", "> ")
        self.assert_becomes(pid, ORDINARY, 0)


main()
