#!/usr/bin/env python3
"""show: one guest as a page, and all of it in JSON."""

import os
import signal
import subprocess

import qvmtest
from qvmtest import BUILD, IMAGE, QvmdTest, main

QVMCTL = os.path.join(BUILD, "cli", "qvmctl")


class ShowTest(QvmdTest):
    def show(self, name):
        return self.qvmd.call("guest.show", name=name)

    def ctl(self, *words):
        return subprocess.run([QVMCTL, "--socket", self.qvmd.socket, "show", *words], text=True,
                              capture_output=True, timeout=60, check=True).stdout

    def test_claims_say_which_line_needs_them_also_after_a_restart_and_a_lost_store(self):
        self.start("a")
        places = {one["id"]: one["where"] for one in self.show("a")["claims"]}
        self.assertEqual(places["host"], "a.qvmconf:2")
        self.assertEqual(places[IMAGE], "a.qvmconf:3")
        self.qvmd.restart()
        self.qvmd.wait("a", "running")
        self.assertEqual({one["id"]: one["where"] for one in self.show("a")["claims"]}, places)
        self.qvmd.crash()
        for end in ("", "-wal", "-shm"):
            if os.path.exists(self.qvmd.store + end):
                os.unlink(self.qvmd.store + end)
        self.qvmd.start()
        self.qvmd.wait("a", "running")
        self.assertEqual({one["id"]: one["where"] for one in self.show("a")["claims"]}, places)

    def test_a_store_of_the_version_before_keeps_its_claims(self):
        guest = self.start("a")
        self.qvmd.stop()
        for table in ("turn", "device", "helper"):
            self.qvmd.forge(f"DROP TABLE {table}")
        self.qvmd.forge("ALTER TABLE instance DROP COLUMN kill_due_ns")
        self.qvmd.forge("ALTER TABLE claim DROP COLUMN place")
        self.qvmd.forge("PRAGMA user_version = 2")
        self.qvmd.start()
        self.qvmd.wait("a", "running")
        self.assertEqual(self.qvmd.guest("a")["pid"], guest["pid"])
        self.assertNotIn("where", self.show("a")["claims"][0])

    def test_runs_are_remembered_with_their_ends(self):
        self.start("a")
        self.qvmd.call("guest.kill", name="a")
        self.qvmd.call("guest.start", name="a", definition=qvmtest.bare("a", run="crash"))
        self.qvmd.wait("a", "failed")
        self.start("a")
        history = self.show("a")["history"]
        self.assertEqual([one.get("reason") for one in history], [None, "guest-crash", "killed"])
        self.assertEqual([one["state"] for one in history], ["running", "failed", "stopped"])
        self.assertNotIn("ended", history[0])
        self.assertGreater(history[1]["ended"], history[1]["started"])
        self.assertIn("triple fault", history[1]["message"])

    def test_threads_memory_and_the_log_are_there(self):
        self.start("a", more="cpu\ncpu\n")
        self.assert_console("a", "> ")
        show = self.show("a")
        self.assertIn("vcpu1", {one["name"] for one in show["stats"]["threads"]})
        machine = {one["name"]: one["value"]
                   for vdev in show["vdevs"] if vdev["name"] == "machine"
                   for one in vdev["values"]}
        self.assertTrue(machine["ram0"].startswith("0x0-0x9ffff"), machine)
        self.assertTrue(any("instance" in line for line in show["log"]), show["log"])
        self.assertLessEqual(len(show["log"]), 10)

    def test_the_page_is_readable_in_80_columns(self):
        self.start("a")
        self.qvmd.call("guest.kill", name="a")
        self.start("a")
        self.assert_console("a", "> ")
        page = self.ctl("a")
        for word in ("a.qvmconf:2", "killed", "vcpu0", "ram0", "\nhistory\n", "\nlog\n"):
            self.assertIn(word, page)
        for line in page.splitlines():
            if BUILD not in line:  # paths are as long as they are
                self.assertLessEqual(len(line), 80, line)
        self.assertIn("vcpu0.registers", self.ctl("-w", "a"))

    def test_a_stopped_qvm_holds_the_page_up_for_a_moment_only(self):
        pid = self.start("a")["pid"]
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(os.kill, pid, signal.SIGCONT)
        show = self.show("a")
        self.assertEqual(show["vdevs"], [])
        self.assertEqual(show["stats"]["pid"], pid)
        self.assertTrue(show["claims"])


if __name__ == "__main__":
    main()
