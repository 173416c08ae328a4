#!/usr/bin/env python3
"""Figures: of guests that run, spin, are stopped, are adopted; no qvm is asked for them."""

import json
import os
import signal
import time

from qvmtest import QvmdTest, main


def named(counters):
    return {one["name"]: one["value"] for one in counters}


class StatsTest(QvmdTest):
    def stats(self, *names):
        return self.qvmd.call("guest.stats", names=list(names))["guests"]

    def one(self, name):
        return self.stats(name)[0]

    def fresh(self, name):
        """A sample that was taken after now."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self.eventually(lambda: self.one(name)["clock_ns"] > now, "no new sample")
        return self.one(name)

    def test_a_guest_has_figures_of_all_kinds(self):
        self.start("a", more="cpu\ncpu\n")
        self.assert_console("a", "\n")
        stats = self.fresh("a")
        self.assertEqual([one["vcpu"] for one in stats["vcpus"]], [0, 1])
        first = stats["vcpus"][0]
        self.assertGreater(named(first["by_reason"])["io"], 20)
        self.assertEqual(first["exits"], sum(named(first["by_reason"]).values()))
        self.assertGreater(first["cpu_ns"], 0)
        self.assertGreater(named(first["kvm"])["exits"], 20)
        self.assertGreater(stats["cpu_ns"], first["cpu_ns"])
        self.assertEqual(stats["memory"], 16 << 20)
        self.assertGreater(stats["memory_touched"], 4096)
        self.assertLess(stats["memory_touched"], 17 << 20)
        self.assertGreater(stats["memory_own"], 4096)
        self.assertGreaterEqual(stats["console_bytes"], len(self.qvmd.console("a")) - 4)
        self.assertGreaterEqual({one["name"] for one in stats["threads"]},
                                {"qvm", "vcpu0", "vcpu1"})
        self.assertIn("irq_line_changes", named(stats["counters"]))

    def test_the_bare_guest_is_up_within_50000_emulated_instructions(self):
        """So that tests are quick where KVM emulates all that a kernel does."""
        self.start("a")
        self.assert_console("a", "> ")
        self.assertLess(named(self.fresh("a")["vcpus"][0]["kvm"])["insn_emulation"], 50000)

    def test_typing_raises_interrupt_lines_and_exits(self):
        self.start("a")
        self.assert_console("a", "> ")
        before = self.fresh("a")
        self.qvmd.type("a", "echo hello\r")
        self.assert_console("a", "\nhello")
        after = self.fresh("a")
        self.assertGreater(after["vcpus"][0]["exits"], before["vcpus"][0]["exits"])
        self.assertGreater(after["console_bytes"], before["console_bytes"])
        self.assertGreater(named(after["counters"])["irq_line_changes"],
                           named(before["counters"])["irq_line_changes"])

    def test_a_stopped_qvm_is_not_asked(self):
        self.start("a")
        self.assert_console("a", "> ")
        pid = self.qvmd.guest("a")["pid"]
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(os.kill, pid, signal.SIGCONT)
        self.eventually(lambda: {one["state"] for one in self.fresh("a")["threads"]} & {"T"},
                        "nobody sees that it is stopped")
        self.assertGreater(self.one("a")["vcpus"][0]["exits"], 0)

    def test_a_new_qvmd_has_the_figures_again_and_leaks_nothing(self):
        self.start("a")
        self.assert_console("a", "> ")
        before = self.fresh("a")
        self.qvmd.restart()
        self.qvmd.wait("a", "running")
        self.eventually(lambda: self.fresh("a")["vcpus"][0].get("kvm"), "no statistics of KVM")
        after = self.one("a")
        self.assertGreaterEqual(after["vcpus"][0]["exits"], before["vcpus"][0]["exits"])
        self.assertEqual(after["instance"], before["instance"])
        start = self.measure()
        for _ in range(5):
            self.start("b", more="cpu\ncpu\ncpu\n")
            self.one("b")
            self.qvmd.call("guest.kill", name="b")
            self.assertNotIn("pid", self.one("b"))
        self.assert_returns_to(start)

    def test_names_choose_and_who_is_not_there_is_refused(self):
        for name in ("a", "b"):
            self.start(name)
        self.qvmd.call("guest.kill", name="b")
        self.assertEqual([one["name"] for one in self.stats()], ["a"])
        dead = self.one("b")
        self.assertEqual((dead["state"], dead["vcpus"], dead.get("clock_ns")),
                         ("stopped", [], None))
        self.refused("no-such-guest", "guest.stats", names=["c"])

    def test_a_sample_is_used_again_for_a_moment_and_says_its_age(self):
        self.start("a")
        samples = {self.one("a")["clock_ns"] for _ in range(20)}
        self.assertLess(len(samples), 20)
        self.assertLess(self.one("a").get("age_ms", 0), 1000)

    def test_many_guests_are_answered_whole(self):
        for i in range(40):
            self.start(f"g{i:02}")
        with self.qvmd.client() as client:
            numbers = [client.request("guest.stats") for _ in range(3)]
            kill = client.request("guest.kill", name="g39")
            answers = {}
            while len(answers) < 4:  # in whatever order
                line = client.line()
                answers[line["id"]] = line["result"]
        self.assertIn(kill, answers)
        for number in numbers:
            guests = answers[number]["guests"]
            self.assertGreaterEqual(len(guests), 39)
            self.assertTrue(all("clock_ns" in one for one in guests if one["state"] == "running"))

    # ---- qvmctl ----

    def test_a_guest_that_spins_shows_in_per_cent(self):
        self.start("idle")
        self.start("busy", run="spin")
        self.assert_console("idle", "> ")
        self.assert_console("busy", "deaf")

        def shows():  # how much it gets is the host's business, which gives guests what is left
            done = self.ctl("stats", "-i", "0.5", "-n", "3")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            tables = done.stdout.split("\n\n")
            self.assertEqual(len(tables), 3)
            self.assertEqual(tables[0].splitlines()[1].split()[2], "-")
            rows = {line.split()[0]: line.split() for line in tables[2].splitlines()}
            return float(rows["busy"][2]) > float(rows["idle"][2])

        self.eventually(shows, "one that spins takes no more than one that does nothing", within=60)

    def test_wide_tells_everything_and_json_is_the_answer(self):
        self.start("a")
        self.assert_console("a", "> ")
        self.fresh("a")
        done = self.ctl("stats", "-w", "a")
        for word in ("irq_line_changes=", "io=", "vcpu0", "touched"):
            self.assertIn(word, done.stdout)
        lines = self.ctl("stats", "-o", "jsonl").stdout.splitlines()
        self.assertEqual([json.loads(line)["name"] for line in lines], ["a"])
        self.assertEqual(self.ctl("stats", "nobody").returncode, 3)


if __name__ == "__main__":
    main()
