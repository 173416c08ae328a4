#!/usr/bin/python3
"""qvmd beside guests of the highest real-time priority that may be had. Runs alone: while such a
guest spins, nothing else on its CPU gets far."""

import os
import unittest

from qvmtest import QvmdTest, bare

PRIORITY = 50
ONLINE = sorted(os.sched_getaffinity(0))


def own_priority(pid):
    """With which of real time a process runs; 0: none."""
    return os.sched_getparam(pid).sched_priority


@unittest.skipIf(os.geteuid() != 0, "only root gives real-time priorities")
class RealTimeTest(QvmdTest):
    settings = (f"partition host rt-priority {PRIORITY}",)

    def setUp(self):
        super().setUp()
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY + 10))
        self.addCleanup(os.sched_setscheduler, 0, os.SCHED_OTHER, os.sched_param(0))

    def spin_everywhere(self):
        """A guest on each CPU that never waits, before whatever is ordinary."""
        for cpu in ONLINE:
            name = f"spin{cpu}"
            more = f"cpu runmask {cpu} sched {PRIORITY}f\n"
            self.start(name, run="spin", more=more)
            self.assert_console(name, "deaf")

    def test_guests_that_spin_before_all_else_are_listed_and_killed(self):
        self.spin_everywhere()
        self.assertEqual(len(self.qvmd.call("guest.list")["guests"]), len(ONLINE))
        for cpu in ONLINE:
            self.qvmd.call("guest.kill", name=f"spin{cpu}")
        self.assert_invariants()

    def test_qvmd_comes_before_what_it_gives_to_guests(self):
        self.assertEqual(own_priority(self.qvmd.process.pid), PRIORITY + 1)

    def test_a_reload_that_gives_more_lifts_qvmd_too(self):
        with open(self.qvmd.config, encoding="utf-8") as file:
            text = file.read()
        with open(self.qvmd.config, "w", encoding="utf-8") as file:
            file.write(text.replace(self.settings[0], "partition host rt-priority 98"))
        self.qvmd.call("host.reload")
        self.assertEqual(own_priority(self.qvmd.process.pid), 99)


if __name__ == "__main__":
    unittest.main()
