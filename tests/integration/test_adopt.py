#!/usr/bin/env python3
"""Guests survive qvmd: its crash, its end, forged rows."""

import glob
import os
import signal
import subprocess
import time

from qvmtest import QvmdTest, bare, main, start_ticks


class AdoptTest(QvmdTest):
    def tearDown(self):
        self.assert_invariants()

    # ---- a new qvmd finds them again ----

    def test_a_guest_survives_kill_9_of_qvmd_with_its_console_and_history(self):
        before = self.start("a")
        self.assert_console("a", "> ")
        for _ in range(3):
            self.qvmd.restart()
            self.assert_runs_on(before)
            self.assertIn("qvm-guest: up", self.qvmd.console("a"))
        self.assertEqual([event["what"] for event in self.qvmd.events(guest="a")],
                         ["defined", "state", "state"] + ["adopted"] * 3)
        guest = self.qvmd.call("guest.stop", name="a", timeout_ms=20000)["guest"]
        self.assertEqual(guest["reason"], "poweroff")

    def test_a_guest_survives_the_clean_end_of_qvmd(self):
        before = self.start("a")
        self.assert_console("a", "> ")
        self.assertEqual(self.qvmd.stop(), 0)
        self.qvmd.start()
        self.assert_runs_on(before)

    def test_an_attached_console_survives_kill_9_of_qvmd(self):
        self.start("a")
        self.assert_console("a", "> ")
        with self.qvmd.client() as client:
            client.call("console.attach", name="a", no_scrollback=True)
            self.qvmd.restart()
            os.write(client.fds[0], b"echo over\r")
            text = b""
            while text.count(b"over") < 2:
                text += os.read(client.fds[0], 4096)

    def test_a_guest_that_ended_meanwhile_left_its_reason(self):
        before = self.start("a", run="ticks_300,poweroff")
        self.qvmd.crash()
        self.eventually(lambda: start_ticks(before["pid"]) is None, "it goes on", 20)
        self.qvmd.start()
        self.assertEqual(self.qvmd.wait("a", "stopped", 10000)["reason"], "poweroff")

    def test_a_qvm_that_was_killed_meanwhile_has_an_unknown_end(self):
        before = self.start("a")
        self.qvmd.crash()
        os.kill(before["pid"], signal.SIGKILL)
        self.eventually(lambda: start_ticks(before["pid"]) is None, "it goes on")
        self.qvmd.start()
        guest = self.qvmd.wait("a", "failed", 10000)
        self.assertEqual(guest["reason"], "unknown")
        self.assertNotEqual(self.start("a")["pid"], before["pid"])

    def test_an_adopted_guest_s_end_is_seen_at_once(self):
        before = self.start("a")
        self.qvmd.restart()
        self.assert_runs_on(before)
        os.kill(before["pid"], signal.SIGKILL)
        guest = self.qvmd.wait("a", "failed", 10000)
        self.assertEqual(guest["reason"], "unknown")

    def test_a_qvm_that_hangs_is_unreachable_and_keeps_what_it_has(self):
        before = self.start("a")
        self.assert_console("a", "> ")
        os.kill(before["pid"], signal.SIGSTOP)
        self.qvmd.crash()
        begin = time.monotonic()
        self.qvmd.start()
        self.assertEqual(self.qvmd.guest("a")["pid"], before["pid"])
        print(f"the API answers after {(time.monotonic() - begin) * 1000:.0f} ms, beside one that "
              "hangs", flush=True)
        self.assertEqual(self.qvmd.wait("a", "unreachable", 15000)["memory"], before["memory"])
        self.refused("wrong-state", "guest.start", name="a")
        os.kill(before["pid"], signal.SIGCONT)
        self.qvmd.wait("a", "running", 15000)
        self.assert_runs_on(before)

    def test_a_qvm_whose_queue_is_full_of_dead_qvmds_is_asked_again(self):
        before = self.start("a")
        self.assert_console("a", "> ")
        os.kill(before["pid"], signal.SIGSTOP)
        for _ in range(7):  # more than it has room for
            self.qvmd.crash()
            self.qvmd.start()
        self.qvmd.wait("a", "unreachable", 15000)
        self.eventually(lambda: "cannot connect" in self.qvmd.log(), self.qvmd.log)
        os.kill(before["pid"], signal.SIGCONT)
        self.qvmd.wait("a", "running", 15000)
        self.assert_runs_on(before)

    def test_an_unreachable_guest_can_be_killed(self):
        before = self.start("a")
        os.kill(before["pid"], signal.SIGSTOP)
        self.qvmd.restart()
        self.qvmd.wait("a", "unreachable", 15000)
        guest = self.qvmd.call("guest.kill", name="a")["guest"]
        self.assertEqual((guest["state"], guest["reason"]), ("stopped", "killed"))

    def test_a_stop_goes_on_after_a_crash(self):
        before = self.start_deaf("a")
        self.refused("timeout", "guest.stop", name="a", timeout_ms=100)
        self.qvmd.restart()
        guest = self.qvmd.guest("a")
        self.assertEqual((guest["state"], guest["desired"], guest["pid"]),
                         ("stopping", "stopped", before["pid"]))
        self.qvmd.call("guest.kill", name="a")

    # ---- what stands in the store and is not true ----

    def test_a_forged_row_with_a_foreign_pid_is_never_signalled(self):
        self.start("a")
        self.qvmd.call("guest.kill", name="a")
        self.qvmd.stop()
        foreign = subprocess.Popen(["sleep", "600"])
        self.addCleanup(foreign.wait)
        self.addCleanup(foreign.kill)
        for state in ("starting", "running", "stopping", "stuck", "unreachable"):
            self.qvmd.forge("UPDATE instance SET ended = NULL, state = ?, reason = NULL, pid = ?,"
                            " start_ticks = ?", state, foreign.pid,
                            start_ticks(foreign.pid) - 1)
            self.qvmd.start()
            self.assertNotIn("pid", self.qvmd.guest("a"))
            self.qvmd.call("guest.kill", name="a")
            self.qvmd.call("guest.stop", name="a", timeout_ms=100, kill=True)
            self.assertIsNone(foreign.poll(), state)
            self.qvmd.stop()
        self.qvmd.start()

    def test_after_another_boot_all_are_over_and_nobody_is_signalled(self):
        before = self.start("a")
        self.qvmd.crash()
        self.qvmd.forge("UPDATE instance SET boot_id = '01234567-89ab-cdef-0123-456789abcdef'")
        self.qvmd.start()
        guest = self.qvmd.guest("a")
        self.assertEqual((guest["state"], guest["reason"]), ("stopped", "host-shutdown"))
        self.assertIsNotNone(start_ticks(before["pid"]))
        self.assert_dead_hold_nothing()
        os.kill(before["pid"], signal.SIGKILL)  # a process that no row knows, by our own doing
        self.eventually(lambda: not os.path.exists(f"/proc/{before['pid']}"), "it lives")
        self.qvmd.restart()  # which sweeps what it had left alone
        self.qvmd.restart()  # its directory was kept as long as it lived

    def test_a_qvm_of_which_nothing_is_kept_is_left_alone_and_not_started_twice(self):
        before = self.start("a")
        self.qvmd.stop()
        os.unlink(os.path.join(self.qvmd.home, "guests", "a.1", "identity"))
        for path in glob.glob(self.qvmd.store + "*"):
            os.unlink(path)
        self.qvmd.start()
        self.assertIn(f"instance=a.1 pid={before['pid']}", self.qvmd.log())
        message = self.refused("busy", "guest.start", name="a", definition=bare("a"))
        self.assertIn(f"(pid {before['pid']})", message)
        self.start("b")
        self.qvmd.call("guest.kill", name="b")
        self.assertEqual(self.qvmd.workers(), [before["pid"]])
        os.kill(before["pid"], signal.SIGKILL)
        self.eventually(lambda: not os.path.exists(f"/proc/{before['pid']}"), "it lives")
        self.qvmd.restart()
        self.assertEqual(self.qvmd.directories(), [])
        self.start("a")

    def test_directories_left_behind_are_swept_and_others_are_not(self):
        before = self.start("a")
        self.qvmd.crash()
        guests = os.path.join(self.qvmd.home, "guests")
        for name in ("gone.7", "a.99", "precious", ".7", "7.7"):
            os.mkdir(os.path.join(guests, name))
        with open(os.path.join(guests, "gone.7", "exit"), "w", encoding="utf-8"):
            pass
        self.qvmd.start()
        self.assertEqual(self.qvmd.directories(),
                         sorted([f"a.{before['instance']}", "precious", ".7", "7.7"]))
        for name in ("precious", ".7", "7.7"):
            os.rmdir(os.path.join(guests, name))


if __name__ == "__main__":
    main()
