"""What scenarios have in common in which qvmd is killed at each of its durable steps
(daemon/crash_point.h) in turn, and started again.

A run without a kill tells how many points it has; then it is run for each of them. After each: the
invariants, a bystander that nobody touched, and what was promised by an answer."""

import concurrent.futures
import os
import signal
import subprocess
import sys
import unittest

from qvmtest import QvmdTest

COUNTING_RUNS = 3
TRIES = 8  # to reach a point that a run may pass by
LAST_LINES = 12  # of qvmd's log that are shown of a failure
FEWEST = 2  # points of a scenario; with fewer, something is not compiled in


class Crash(Exception):
    """qvmd is gone."""


class CrashBase(QvmdTest):
    crashing = True
    settings = ("spares 0", "restart-backoff 1ms 10ms")

    def setUp(self):
        super().setUp()
        self.bystander = self.start("bystander")

    # ---- what scenarios are made of ----

    def call(self, method, /, **params):
        """As a client that sees qvmd vanish: then Crash."""
        try:
            return self.qvmd.call(method, **params)
        except (OSError, EOFError):
            raise Crash from None

    def settle(self, name):
        """Wait until nothing is left to be done for a guest at rest."""
        def held():
            return (self.call("guest.show", name=name).get("claims", []) +
                    [one for one in self.qvmd.directories() if one.startswith(name + ".")])

        self.eventually(lambda: not held(), lambda: f"it holds on to {held()}\n" +
                        "\n".join(self.qvmd.log().splitlines()[-LAST_LINES:]))

    def put_to_rest(self, name="a"):
        if name in self.qvmd.guests():
            self.qvmd.call("guest.kill", name=name)
            self.settle(name)

    def forget(self, name="a"):
        if name in self.qvmd.guests():
            self.put_to_rest(name)
            self.qvmd.call("guest.undefine", name=name)

    def run_anew(self):
        self.put_to_rest()
        guest = self.start("a")
        self.assert_console("a", "> ")
        return guest

    def one_run(self, prepare, act, number):
        """The points that were passed, whether qvmd died, and what `act` returned if not."""
        prepare()
        self.qvmd.arm(number)
        result = None
        try:
            result = act()
            self.call("guest.list")  # what was begun before it is done when it is answered
            died = self.qvmd.process.poll() is not None
        except Crash:
            died = self.qvmd.process.wait(10) is not None
        return self.qvmd.disarm(), died, result

    def count_points(self, prepare, act, check):
        """How many points a run has, undisturbed: the fewest of some, since who dies first, or which
        spare is taken, is chance."""
        counts = []
        for _ in range(COUNTING_RUNS):
            points, died, result = self.one_run(prepare, act, 0)
            self.assertFalse(died, "qvmd ended without being killed")
            check(result)
            self.assert_all_is_well()
            counts.append(len(points))
        self.assertGreaterEqual(min(counts), FEWEST, points)
        return min(counts)

    def die_at(self, prepare, act, number):
        """As one_run(); a run that is over before that point is repeated, if not for ever."""
        for _ in range(TRIES):
            passed, died, result = self.one_run(prepare, act, number)
            if died:
                break
        return passed, died, result

    def at_every_point(self, prepare, act, check):
        """`check(result)`: what must be true afterwards; `result` None: nobody was answered."""
        count = self.count_points(prepare, act, check)
        for number in range(1, count + 1):
            passed, died, result = self.die_at(prepare, act, number)
            with self.subTest(f"killed at point {number} of {count}: {passed[-1:]}"):
                self.assertTrue(died, "this point was not reached")
                self.assertEqual(self.qvmd.process.returncode, -signal.SIGKILL)
                self.qvmd.start()
                check(result)
                self.assert_all_is_well()
        print(f"{self._testMethodName}: killed at each of {count} points", flush=True)

    def assert_all_is_well(self):
        bystander = self.qvmd.wait("bystander", "running", 15000)
        self.assertEqual(bystander["pid"], self.bystander["pid"], "I6")
        self.assert_invariants()

    def becomes(self, name, *states):
        """The guest when it is in one of these states."""
        self.eventually(lambda: self.qvmd.guest(name)["state"] in states,
                        f"{name} stays {self.qvmd.guest(name)['state']}")
        return self.qvmd.guest(name)


def run_each(file, kinds):
    """Each test of that file in a process of its own, as many at once as there are CPUs; those that
    failed are told last. Returns the exit status."""
    names = [f"{kind.__name__}.{name}" for kind in kinds
             for name in unittest.TestLoader().getTestCaseNames(kind)]

    def run_one(name):
        return subprocess.run([sys.executable, file, name],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = sorted(pool.map(run_one, names), key=lambda run: run.returncode != 0)
    for run in runs:
        print(run.stdout, flush=True)
    return max(run.returncode for run in runs)
