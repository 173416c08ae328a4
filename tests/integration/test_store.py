#!/usr/bin/env python3
"""Whatever happens to the database, no guest dies, and everything is said in words."""

import glob
import os
import sqlite3
import subprocess
import unittest

from qvmtest import QvmdTest, Refused, bare, main, start_ticks


class StoreTest(QvmdTest):
    def tearDown(self):
        self.assert_invariants()

    def lose(self):
        for path in glob.glob(self.qvmd.store + "*"):
            if not path.endswith("-lock"):
                os.unlink(path)

    def told(self):
        """The sentence of the last event about the database."""
        return [event for event in self.qvmd.events() if event["what"] == "store"][-1]["message"]

    def claims(self, name):
        return self.qvmd.call("guest.show", name=name)["claims"]

    def assert_rebuilt(self, before, claims):
        """It runs on, and everything about it is known again."""
        name = before["name"]
        self.assertEqual(self.qvmd.wait(name, "running", 15000)["pid"], before["pid"])
        self.assert_runs_on(before)
        self.assertIn("recovered", [event["what"] for event in self.qvmd.events(guest=name)])
        self.assertEqual(self.qvmd.guest(name)["owner"], before["owner"])
        self.assertEqual(self.qvmd.call("guest.show", name=name)["definition"]["sources"],
                         bare(name)["sources"])
        self.assertEqual(self.claims(name), claims)

    # ---- lost ----

    def test_a_lost_store_is_rebuilt_from_the_live_qvms(self):
        for end in (self.qvmd.stop, self.qvmd.crash):
            with self.subTest(end.__name__):
                self.qvmd.call("guest.define", name="a", definition=bare("a"))
                self.qvmd.call("guest.set", name="a",
                               values=[{"name": "restart", "value": "on-failure"}])
                before = self.start("a")
                claims = self.claims("a")
                end()
                self.lose()
                self.qvmd.start()
                self.assert_rebuilt(before, claims)
                self.assertEqual(self.qvmd.call("guest.show", name="a")["settings"]["restart"],
                                 "on-failure")
                memory = self.qvmd.call("host.info")["pools"][0]["claimed"]
                self.assertEqual(memory, before["memory"])
                guest = self.qvmd.call("guest.stop", name="a", timeout_ms=20000)["guest"]
                self.assertEqual((guest["state"], guest["reason"]), ("stopped", "poweroff"))
                again = self.qvmd.call("guest.start", name="a")["guest"]
                self.assertGreater(again["instance"], before["instance"])
                self.qvmd.call("guest.kill", name="a")

    def test_what_ended_while_its_store_was_lost_is_known_with_its_reason(self):
        before = self.start("a", run="ticks_100,poweroff")
        self.qvmd.crash()
        self.lose()
        self.eventually(lambda: start_ticks(before["pid"]) is None, "it goes on", 20)
        self.qvmd.start()
        guest = self.qvmd.guest("a")
        self.assertEqual((guest["state"], guest["reason"]), ("stopped", "poweroff"))
        self.qvmd.call("guest.start", name="a")
        self.qvmd.wait("a", "stopped")

    def test_an_older_store_learns_what_it_does_not_know(self):
        self.start("a")
        self.qvmd.stop()
        with open(self.qvmd.store, "rb") as file:
            older = file.read()
        self.qvmd.start()
        before = self.start("b")
        claims = self.claims("b")
        self.qvmd.stop()
        with open(self.qvmd.store, "wb") as file:
            file.write(older)
        self.qvmd.start()
        self.assert_rebuilt(before, claims)
        self.assertEqual(self.qvmd.wait("a", "running", 15000)["state"], "running")

    def test_the_instance_of_another_guest_s_number_is_left_alone(self):
        before = self.start("a")
        self.qvmd.stop()
        self.lose()
        os.rename(os.path.join(self.qvmd.home, "guests", "a.1"),
                  os.path.join(self.qvmd.top, "hidden"))
        self.qvmd.start()
        self.start("b")
        self.assertEqual(self.qvmd.guest("b")["instance"], before["instance"])
        self.qvmd.stop()
        os.rename(os.path.join(self.qvmd.top, "hidden"),
                  os.path.join(self.qvmd.home, "guests", "a.1"))
        self.qvmd.start()
        self.assertNotIn("a", self.qvmd.guests())
        self.assertIn(f"left alone, the store does not know it instance=a.1 pid={before['pid']} "
                      "why=\"its number is that of an instance of guest 'b'", self.qvmd.log())
        self.refused("busy", "guest.start", name="a", definition=bare("a"))
        os.kill(before["pid"], 9)
        self.eventually(lambda: start_ticks(before["pid"]) is None, "it lives")
        self.qvmd.restart()

    def test_what_is_left_of_the_dead_stands_in_the_way_of_nobody_alive(self):
        image = os.path.join(self.qvmd.top, "disk.img")
        with open(image, "wb") as file:
            file.truncate(1 << 20)
        disk = f"vdev virtio-blk loc mem:feb00000,512 intr ioapic:16 hostdev {image}\n"
        left = {}
        for name in ("a", "a", "z"):  # read in whatever order
            instance = self.start(name, more=disk)["instance"]
            directory = os.path.join(self.qvmd.home, "guests", f"{name}.{instance}")
            with open(os.path.join(directory, "identity"), encoding="utf-8") as file:
                left[directory] = file.read()
            self.qvmd.call("guest.kill", name=name)
        before = self.start("a", more=disk)
        claims = self.claims("a")
        self.qvmd.crash()
        self.lose()
        for directory, text in left.items():
            os.makedirs(directory, exist_ok=True)
            with open(os.path.join(directory, "identity"), "w", encoding="utf-8") as file:
                file.write(text)
        self.qvmd.start()
        self.assertEqual(self.qvmd.wait("a", "running", 15000)["pid"], before["pid"])
        self.assertEqual(self.claims("a"), claims)

    def foreign_process(self, ticks):
        """One that was not started in the same 1/100 s: pid and start time are a process."""
        while True:
            foreign = subprocess.Popen(["sleep", "600"])
            self.addCleanup(foreign.wait)
            self.addCleanup(foreign.kill)
            if start_ticks(foreign.pid) != ticks:
                return foreign

    def test_a_forged_identity_makes_nobody_ours(self):
        before = self.start("a")
        path = os.path.join(self.qvmd.home, "guests", "a.1", "identity")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        foreign = self.foreign_process(start_ticks(before["pid"]))
        self.qvmd.call("guest.kill", name="a")
        self.eventually(lambda: self.qvmd.directories() == [], "the directory stays")
        self.qvmd.stop()
        self.lose()
        for forged in (text.replace(str(before["pid"]), str(foreign.pid)), text[:100], "",
                       text.replace('"boot_id":"', '"boot_id":"0')[:-1], "\0" * 4096):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(forged)
            self.qvmd.start()
            self.assertNotIn("pid", self.qvmd.guests().get("a", {}), forged[:200])
            self.assertIsNone(foreign.poll())
            self.qvmd.stop()
            self.lose()
        self.qvmd.start()

    # ---- deleted while it is open ----

    def test_a_store_deleted_under_a_running_qvmd_is_written_anew(self):
        before = self.start("a")
        self.lose()
        self.start("b")
        self.assertIn("was deleted while qvmd had it open", self.told())
        self.assertNotIn("degraded", self.qvmd.call("host.info"))
        self.qvmd.restart()
        self.assert_runs_on(before)
        self.assertEqual(set(self.qvmd.guests()), {"a", "b"})

    def test_a_store_replaced_under_a_running_qvmd_is_not_touched(self):
        self.start("a")
        os.rename(self.qvmd.store, self.qvmd.store + ".mine")
        with open(self.qvmd.store, "w", encoding="utf-8") as file:
            file.write("something of somebody")
        message = self.refused("degraded", "guest.start", name="b", definition=bare("b"))
        self.assertIn("was replaced by another file", message)
        self.assertEqual(self.qvmd.call("guest.kill", name="a")["guest"]["reason"], "killed")
        with open(self.qvmd.store, encoding="utf-8") as file:
            self.assertEqual(file.read(), "something of somebody")
        os.rename(self.qvmd.store + ".mine", self.qvmd.store)
        self.start("b")
        self.assertEqual(self.qvmd.rows("SELECT state, reason FROM instance WHERE guest = 'a'"),
                         [("stopped", "killed")])

    # ---- damaged ----

    def damage(self, offset, size=512):
        with open(self.qvmd.store, "r+b") as file:
            file.seek(offset)
            file.write(b"\x5a" * size)

    def test_a_damaged_store_is_put_aside_and_rebuilt(self):
        self.qvmd.call("guest.define", name="idle", definition=bare("idle"))
        before = self.start("a")
        claims = self.claims("a")
        self.qvmd.stop()
        with open(self.qvmd.store, "rb") as file:
            whole = file.read()
        kept = 0
        for offset in (0, 16, 100, *range(4096, len(whole), 4096), *range(4200, len(whole), 4096)):
            with self.subTest(f"from {offset} on"):
                with open(self.qvmd.store, "wb") as file:
                    file.write(whole)
                self.damage(offset)
                self.qvmd.start()
                self.assertEqual(self.qvmd.wait("a", "running", 15000)["pid"], before["pid"])
                self.assertEqual(self.claims("a"), claims)
                kept += "idle" in self.qvmd.guests()
                aside = glob.glob(self.qvmd.store + ".damaged-*Z")
                if aside:
                    self.assertIn(f"it was put aside as '{aside[0]}'", self.told())
                    self.assertIn("idle" if "1 definitions" in self.told() else "a",
                                  self.qvmd.guests())
                self.qvmd.stop()
                for path in glob.glob(self.qvmd.store + "*"):
                    if not path.endswith("-lock"):
                        os.unlink(path)
        self.assertGreater(kept, 0)
        self.qvmd.start()
        self.assert_runs_on(before)

    def test_a_truncated_store_is_put_aside_and_rebuilt(self):
        before = self.start("a")
        for size in (1, 100, 4096, 5000, 16384):
            with self.subTest(f"{size} bytes"):
                self.qvmd.stop()
                os.truncate(self.qvmd.store, size)
                self.qvmd.start()
                self.assertEqual(self.qvmd.wait("a", "running", 15000)["pid"], before["pid"])
                self.assertIn("it was put aside", self.told())
                for path in glob.glob(self.qvmd.store + ".damaged-*"):
                    os.unlink(path)
        self.qvmd.stop()
        os.truncate(self.qvmd.store, 0)
        self.qvmd.start()
        self.assertIn("was empty", self.told())
        self.assert_runs_on(before)

    # ---- somebody else's, or of another version ----

    def test_a_store_of_a_newer_qvmd_is_refused_and_guests_run_on(self):
        before = self.start("a")
        self.qvmd.stop()
        version = self.set_version(99)
        with self.assertRaises(RuntimeError):
            self.qvmd.start()
        self.assertIn("was written by a newer qvmd (its version is 99", self.qvmd.log())
        self.assertIsNotNone(start_ticks(before["pid"]))
        self.set_version(version)
        self.qvmd.start()
        self.assert_runs_on(before)

    def set_version(self, number):
        database = sqlite3.connect(self.qvmd.store)
        before = database.execute("PRAGMA user_version").fetchone()[0]
        database.execute(f"PRAGMA user_version={number}")
        database.close()
        return before

    def test_a_store_that_somebody_has_locked_is_read_and_written_later(self):
        before = self.start("a")
        self.qvmd.stop()
        somebody = sqlite3.connect(self.qvmd.store, isolation_level=None)
        self.addCleanup(somebody.close)
        somebody.execute("BEGIN EXCLUSIVE")
        self.qvmd.start()
        self.assert_runs_on(before)
        self.assertIn("cannot be written: database is locked",
                      self.qvmd.call("host.info")["degraded"])
        self.refused("degraded", "guest.start", name="b", definition=bare("b"))
        self.assertEqual(self.qvmd.call("guest.kill", name="a")["guest"]["reason"], "killed")
        somebody.execute("ROLLBACK")
        somebody.close()
        self.qvmd.call("guest.start", name="a")
        self.assertNotIn("degraded", self.qvmd.call("host.info"))


@unittest.skipIf(os.geteuid() != 0, "only root can mount")
class DiskTest(QvmdTest):
    """The store lies on a file system of 4 MiB."""

    def setUp(self):
        super().setUp()
        self.qvmd.stop()
        self.state = os.path.join(self.qvmd.home, "state")
        self.mount("-t", "tmpfs", "-o", "size=4m", "none", self.state)
        self.addCleanup(subprocess.run, ["umount", "-l", self.state], check=True)
        self.addCleanup(self.qvmd.end)
        self.qvmd.start()

    @staticmethod
    def mount(*words):
        subprocess.run(["mount", *words], check=True)

    def remount_read_only(self):
        """What a qvmd that was killed had forked may still be on its way to exec, or to its end."""
        self.eventually(lambda: subprocess.run(["mount", "-o", "remount,ro", self.state],
                                               stderr=subprocess.DEVNULL,
                                               check=False).returncode == 0,
                        "somebody keeps writing to it", 30)

    def fill(self):
        with open(os.path.join(self.state, "fill"), "wb", buffering=0) as file:
            for size in (65536, 512, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    pass

    def test_with_a_full_disk_stop_and_kill_act_and_start_is_refused(self):
        for name in ("a", "b", "c"):
            self.start(name)
        for name in ("a", "b"):
            self.assert_console(name, "> ")
        self.fill()
        self.act_on_what_cannot_be_written()
        os.unlink(os.path.join(self.state, "fill"))
        self.assert_recovers()

    def test_a_full_disk_when_qvmd_is_started_loses_no_guest(self):
        before = {name: self.start(name) for name in ("a", "b", "c")}
        self.fill()
        self.qvmd.restart()
        for name, guest in before.items():
            self.eventually(self.is_found(name), "not adopted")
            self.assertEqual(self.qvmd.guest(name)["pid"], guest["pid"])
        self.act_on_what_cannot_be_written()
        os.unlink(os.path.join(self.state, "fill"))
        self.assert_recovers()

    def test_a_disk_that_became_read_only_loses_no_guest(self):
        before = {name: self.start(name) for name in ("a", "b", "c")}
        self.qvmd.crash()
        self.remount_read_only()
        self.qvmd.start()
        for name, guest in before.items():
            self.eventually(self.is_found(name), "not adopted")
            self.assertEqual(self.qvmd.guest(name)["pid"], guest["pid"])
        self.act_on_what_cannot_be_written()
        self.mount("-o", "remount,rw", self.state)
        self.assert_recovers()

    def test_an_end_that_cannot_be_written_is_known_to_the_next_qvmd(self):
        self.start("a", run="ticks_100,poweroff")
        self.start("b")
        self.fill()
        self.qvmd.wait("a", "stopped")
        self.qvmd.restart()
        guest = self.qvmd.guest("a")
        self.assertEqual((guest["state"], guest["reason"]), ("stopped", "poweroff"))
        os.unlink(os.path.join(self.state, "fill"))
        self.eventually(lambda: self.try_start("a"), "it does not recover", 70)
        self.qvmd.wait("a", "stopped")
        self.assertEqual(self.qvmd.guest("b")["state"], "running")
        self.assert_dead_hold_nothing()

    def act_on_what_cannot_be_written(self):
        stopped = self.qvmd.call("guest.stop", name="a", timeout_ms=20000)["guest"]
        self.assertEqual((stopped["state"], stopped["reason"]), ("stopped", "poweroff"))
        self.assertIn("degraded", self.qvmd.call("host.info"))
        self.assertEqual(self.qvmd.call("guest.kill", name="b")["guest"]["reason"], "killed")
        self.refused("degraded", "guest.start", name="a")
        self.refused("degraded", "guest.define", name="d", definition=bare("d"))
        numbers = [event["seq"] for event in self.qvmd.events()]
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
        self.assertEqual(self.qvmd.guest("c")["state"], "running")

    def assert_recovers(self):
        self.eventually(lambda: self.try_start("a"), "it does not recover", 70)
        self.assertNotIn("degraded", self.qvmd.call("host.info"))
        self.eventually(lambda: self.settled("b"), "the end of b is not written", 70)
        self.assert_no_gap()
        self.assert_dead_hold_nothing(70)
        self.assertEqual(self.qvmd.guest("c")["state"], "running")

    def try_start(self, name):
        try:
            return self.qvmd.call("guest.start", name=name)
        except Refused:
            return None

    def settled(self, name):
        rows = self.qvmd.rows("SELECT state, reason FROM instance WHERE guest = ?", name)
        return rows == [("stopped", "killed")]


if __name__ == "__main__":
    main()
