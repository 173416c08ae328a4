#!/usr/bin/env python3
"""A guest's life through the API: begins, ends in every way, and holds what it was given."""

import base64
import os
import select
import signal
import socket
import time

from qvmtest import QvmdTest, Refused, bare, definition, main


class LifeTest(QvmdTest):
    def tearDown(self):
        self.assert_invariants()

    def last_state(self, name):
        guest = self.qvmd.guest(name)
        return guest["state"], guest.get("reason")

    # ---- begins ----

    def test_start_is_answered_when_the_guest_runs(self):
        guest = self.start("a")
        self.assertEqual(guest["state"], "running")
        self.assertEqual(guest["memory"], 16 << 20)
        self.assertEqual(guest["vcpus"], 1)
        self.assertEqual([guest["pid"]], self.qvmd.workers())
        self.assert_console("a", "qvm-guest: up, 1 cpus")
        states = [event["state"] for event in self.qvmd.events() if event["what"] == "state"]
        self.assertEqual(states, ["starting", "running"])

    def test_starting_a_running_guest_is_done_already(self):
        self.start("a")
        outcome = self.qvmd.call("guest.start", name="a")
        self.assertEqual(outcome["note"], "it was running already")
        self.assertEqual(outcome["guest"]["instance"], 1)

    def test_two_who_start_one_guest_at_once_get_one_process(self):
        self.qvmd.call("guest.define", name="a", definition=bare("a"))
        with self.qvmd.client() as one, self.qvmd.client() as two:
            first, second = one.request("guest.start", name="a"), two.request("guest.start",
                                                                              name="a")
            pids = {one.answer(first)["guest"]["pid"], two.answer(second)["guest"]["pid"]}
        self.assertEqual(len(pids), 1)

    def test_a_client_that_leaves_in_the_middle_of_start_changes_nothing(self):
        with self.qvmd.client() as client:
            client.request("guest.start", name="a", definition=bare("a"))
        self.assertEqual(self.qvmd.wait("a", "running")["state"], "running")

    def test_a_client_that_leaves_in_the_middle_of_stop_changes_nothing(self):
        self.start("a")
        self.assert_console("a", "> ")
        with self.qvmd.client() as client:
            client.request("guest.stop", name="a", timeout_ms=20000, kill=True)
        self.assertEqual(self.qvmd.wait("a", "stopped")["desired"], "stopped")

    def test_the_force_that_follows_a_stop_follows_it_over_a_death_of_qvmd(self):
        self.start_deaf("a")
        self.start_deaf("b")
        with self.qvmd.client() as client:
            client.request("guest.stop", name="a", timeout_ms=1000, kill=True)
            client.request("guest.stop", name="b", timeout_ms=600000, kill=True)
            for name in "ab":
                self.eventually(lambda: self.qvmd.guest(name)["state"] == "stopping", "no stop")
            self.qvmd.restart()
        ended = self.qvmd.wait("a", "stopped")
        self.assertEqual((ended["reason"], ended["desired"]), ("killed", "stopped"))
        self.assertEqual(self.qvmd.guest("b")["state"], "stopping")
        # who wants it sooner has his way, and who comes back need not say it again
        self.refused("timeout", "guest.stop", name="b", timeout_ms=100)
        self.assertEqual(self.qvmd.guest("b")["state"], "stopping")
        self.qvmd.call("guest.stop", name="b", timeout_ms=100, kill=True)
        self.assertEqual(self.qvmd.guest("b")["reason"], "killed")

    def test_kill_9_of_a_qvm_at_any_moment_of_its_start_is_one_failure(self):
        self.qvmd.call("guest.define", name="a", definition=bare("a"))
        for delay in range(12):
            with self.qvmd.client() as client:
                number = client.request("guest.start", name="a")
                while not (pids := self.qvmd.children()):
                    pass
                time.sleep(delay / 1000)
                try:
                    os.kill(pids[0], signal.SIGKILL)
                except ProcessLookupError:  # a hand that has ended
                    pass
                try:
                    client.answer(number)
                except Refused as refusal:
                    self.assertIn(refusal.name, ("guest-failed", "internal"))
            self.qvmd.call("guest.kill", name="a")
            self.assert_invariants()
        self.start("a")

    def test_each_qvm_has_a_uid_of_its_own_and_no_rights(self):
        if os.geteuid() != 0:
            self.skipTest("only root can give each guest a uid of its own")
        pids = [self.start(name)["pid"] for name in ("a", "b")]
        uids = set()
        for pid in pids:
            with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                status = dict(line.split(":", 1) for line in file)
            uid = status["Uid"].split()
            self.assertEqual(len(set(uid + status["Gid"].split())), 1)
            uids.add(uid[0])
            self.assertEqual(status["Groups"].split(), [])
            self.assertEqual(status["NoNewPrivs"].strip(), "1")
            for name in ("CapPrm", "CapEff", "CapInh", "CapAmb", "CapBnd"):
                self.assertEqual(int(status[name], 16), 0, name)
            with open(f"/proc/{pid}/environ", "rb") as file:
                self.assertEqual(file.read(), b"")
        self.assertEqual(len(uids), 2)
        self.assertNotIn("0", uids)

    def test_what_qvmd_was_told_to_ignore_a_qvm_does_not(self):
        before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # as by nohup(1)
        self.addCleanup(signal.signal, signal.SIGUSR2, before)
        self.qvmd.stop()
        self.qvmd.start()
        for pid, is_ignored in ((self.qvmd.process.pid, True), (self.start("a")["pid"], False)):
            with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                status = dict(line.split(":", 1) for line in file)
            bit = int(status["SigIgn"], 16) >> (signal.SIGUSR2 - 1) & 1
            self.assertEqual(bool(bit), is_ignored)

    # ---- cannot begin ----

    def test_a_configuration_error_is_told_with_file_and_line(self):
        text = "system a\nram 16M\nwings 2\n"
        message = self.refused("config-error", "guest.start", name="a",
                               definition=definition(text, name="a.qvmconf"))
        self.assertRegex(message, r"^a\.qvmconf:3: .*wings")
        self.assertEqual(self.last_state("a"), ("failed", "config-error"))

    def test_a_sentence_that_is_cut_in_a_character_is_told_all_the_same(self):
        for pad in ("", "x", "yy"):
            folder = os.path.join(self.qvmd.top, pad + "\u20ac" * 80, *["\u20ac" * 80] * 3)
            os.makedirs(folder)
            path = os.path.join(folder, "\u20ac" * 80)
            with open(path, "w", encoding="utf-8") as file:
                file.write("no kernel\n")
            text = f"system a\nram 16M\nload {path}\n"
            message = self.refused("config-error", "guest.start", name="a",
                                   definition=definition(text, name="a.qvmconf"))
            self.assertTrue(message.startswith("a.qvmconf:3: '/"), message)
            self.assertEqual(self.qvmd.events()[-1]["message"][:40], message[:40])

    def test_another_name_after_system_is_a_configuration_error(self):
        message = self.refused("config-error", "guest.start", name="a", definition=bare("b"))
        self.assertRegex(message, r"^b\.qvmconf:1: ")

    def test_a_missing_file_is_told_with_file_and_line(self):
        text = "system a\nram 16M\nload /nowhere/kernel\n"
        message = self.refused("no-such-file", "guest.start", name="a",
                               definition=definition(text, name="a.qvmconf"))
        self.assertRegex(message, r"^a\.qvmconf:3: .*'/nowhere/kernel'.*No such file")
        self.assertEqual(self.last_state("a"), ("failed", "denied"))

    def test_what_is_no_file_is_a_configuration_error_with_file_and_line(self):
        text = f"system a\nram 16M\nload {self.qvmd.top}\n"
        message = self.refused("config-error", "guest.start", name="a",
                               definition=definition(text, name="a.qvmconf"))
        self.assertEqual(message, f"a.qvmconf:3: '{self.qvmd.top}' is a directory, not a regular "
                         "file or block device")
        self.assertEqual(self.last_state("a"), ("failed", "denied"))

    def test_too_much_memory_is_refused_and_says_how_much_is_missing(self):
        message = self.refused("insufficient", "guest.start", name="a",
                               definition=bare("a", ram="900G"))
        self.assertRegex(message, r"^a\.qvmconf:2: .* are missing: 900 GiB")
        self.start("b")

    def test_a_second_writer_of_a_file_is_refused_and_hears_who_has_it(self):
        path = os.path.join(self.qvmd.top, "disk")
        with open(path, "w", encoding="utf-8"):
            pass
        more = f"vdev ser8250\nloc io:0x2f8,8\nintr ioapic:3\nhostdev >{path}\n"
        first = self.start("a", more=more)
        claims = {claim["id"]: claim for claim in self.qvmd.call("guest.show", name="a")["claims"]}
        if not claims[path].get("is_writable"):
            self.skipTest("a stream is not held alone")
        message = self.refused("busy", "guest.start", name="b", definition=bare("b", more=more))
        self.assertRegex(message, rf"^b\.qvmconf:\d+: .*guest 'a' \(pid {first['pid']}\)")
        self.qvmd.call("guest.kill", name="a")
        self.start("b", more=more)

    # ---- ends ----

    def test_what_an_ended_guest_held_is_free_when_its_end_is_told(self):
        path = os.path.join(self.qvmd.top, "disk")
        with open(path, "wb") as file:
            file.truncate(1 << 20)
        disk = f"vdev virtio-blk loc mem:feb00000,512 intr ioapic:16 hostdev {path}\n"
        for i in range(8):
            self.start("ab"[i % 2], more=disk)  # refused while the other one holds it
            self.qvmd.call("guest.kill", name="ab"[i % 2])
        for i in range(4):
            pid = self.start("ab"[i % 2], more=disk)["pid"]
            os.kill(pid, signal.SIGKILL)
            self.qvmd.wait("ab"[i % 2], "failed")

    def test_stop_presses_the_power_button(self):
        self.start("a")
        self.assert_console("a", "> ")
        guest = self.qvmd.call("guest.stop", name="a", timeout_ms=20000)["guest"]
        self.assertEqual((guest["state"], guest["reason"]), ("stopped", "poweroff"))
        self.assertEqual(guest["desired"], "stopped")
        self.assertIn("power button", self.qvmd.console("a"))

    def test_stopping_a_stopped_guest_is_done_already(self):
        self.qvmd.call("guest.define", name="a", definition=bare("a"))
        self.assertEqual(self.qvmd.call("guest.stop", name="a")["note"], "it was not running")
        self.assertEqual(self.qvmd.call("guest.kill", name="a")["note"], "it was not running")

    def test_a_guest_that_does_not_hear_the_button_is_a_timeout(self):
        self.start_deaf("a")
        message = self.refused("timeout", "guest.stop", name="a", timeout_ms=300)
        self.assertEqual(message, "guest 'a' is still stopping; `qvmctl kill a` ends it by force")
        self.assertEqual(self.qvmd.guest("a")["state"], "stopping")
        guest = self.qvmd.call("guest.kill", name="a")["guest"]
        self.assertEqual((guest["state"], guest["reason"]), ("stopped", "killed"))

    def test_stop_with_kill_kills_when_the_time_is_over(self):
        self.start_deaf("a", "spin")
        begin = time.monotonic()
        guest = self.qvmd.call("guest.stop", name="a", timeout_ms=300, kill=True)["guest"]
        self.assertEqual((guest["state"], guest["reason"]), ("stopped", "killed"))
        self.assertGreater(time.monotonic() - begin, 0.29)

    def test_kill_needs_nobody_s_cooperation(self):
        guest = self.start("a")
        os.kill(guest["pid"], signal.SIGSTOP)
        begin = time.monotonic()
        guest = self.qvmd.call("guest.kill", name="a")["guest"]
        self.assertEqual((guest["state"], guest["reason"]), ("stopped", "killed"))
        self.assertLess(time.monotonic() - begin, 2)

    def test_kill_passes_a_stop_that_waits(self):
        self.start_deaf("a")
        with self.qvmd.client() as client:
            waiting = client.request("guest.stop", name="a", timeout_ms=60000)
            self.qvmd.wait("a", "stopping")
            self.qvmd.call("guest.kill", name="a")
            self.assertEqual(client.answer(waiting)["guest"]["reason"], "killed")

    def test_a_guest_that_switches_itself_off_is_stopped(self):
        self.start("a", run="poweroff")
        guest = self.qvmd.wait("a", "stopped")
        self.assertEqual((guest["reason"], guest["exit_status"] if "exit_status" in guest else 0),
                         ("poweroff", 0))

    def test_a_guest_that_crashes_is_failed(self):
        self.start("a", run="crash")
        guest = self.qvmd.wait("a", "failed")
        self.assertEqual(guest["reason"], "guest-crash")
        self.assertIn("message", guest)

    def test_a_reboot_keeps_the_process(self):
        before = self.start("a")
        self.assert_console("a", "> ")
        with self.qvmd.client() as client:
            client.call("events.subscribe")
            self.qvmd.type("a", "reboot\r")
            event = client.event(what="reboot")
        after = self.qvmd.guest("a")
        self.assertEqual((event["pid"], after["pid"], after["reboots"]),
                         (before["pid"], before["pid"], 1))
        self.assert_console("a", "boot 2")
        said = self.qvmd.console("a")
        self.assertLess(said.index("-- qvm: guest 'a' rebooted (1) --"), said.index("boot 2"), said)

    def test_a_qvm_that_a_stranger_kills_is_a_failure_within_50_ms(self):
        took = []
        with self.qvmd.client() as client:
            client.call("events.subscribe")
            for _ in range(5):
                guest = self.start("a")
                client.event(state="running")
                pidfd = os.pidfd_open(guest["pid"])
                os.kill(guest["pid"], signal.SIGKILL)
                select.select([pidfd], [], [], 10)
                begin = time.monotonic()
                event = client.event(what="state", guest="a", state="failed")
                took.append(time.monotonic() - begin)
                os.close(pidfd)
                self.assertEqual(event["reason"], "vmm-crash")
                self.assertIn("signal 9", event["message"])
        self.assertLess(sorted(took)[2], 0.05, took)

    def test_a_guest_starts_again_at_once_after_each_end(self):
        for number in range(1, 6):
            self.assertEqual(self.start("a")["instance"], number)
            self.qvmd.call("guest.kill", name="a")

    # ---- definitions ----

    def test_start_with_another_definition_defines_it_anew(self):
        self.start("a")
        message = self.refused("wrong-state", "guest.start", name="a",
                               definition=bare("a", ram="32M"))
        self.assertIn("stop it first", message)
        self.qvmd.call("guest.kill", name="a")
        guest = self.start("a", ram="32M")
        self.assertEqual((guest["generation"], guest["memory"]), (2, 32 << 20))
        self.qvmd.call("guest.kill", name="a")
        self.assertEqual(self.start("a", ram="32M")["generation"], 2)

    def test_a_guest_that_runs_is_not_forgotten(self):
        self.start("a")
        self.refused("wrong-state", "guest.undefine", name="a")
        self.qvmd.call("guest.kill", name="a")
        self.qvmd.call("guest.undefine", name="a")
        self.assertEqual(self.qvmd.guests(), {})
        self.refused("no-such-guest", "guest.start", name="a")
        self.assertEqual(os.listdir(os.path.join(self.qvmd.home, "log")), ["audit.jsonl"])

    def test_every_thread_of_a_guest_may_use_all_cpus_that_its_process_may(self):
        pid = self.start("a")["pid"]
        masks = {os.sched_getaffinity(int(tid)) == os.sched_getaffinity(0)
                 for tid in os.listdir(f"/proc/{pid}/task")}
        self.assertEqual(masks, {True})

    # ---- waiting ----

    def test_wait_is_answered_when_the_state_comes(self):
        self.start("a")
        with self.qvmd.client() as client:
            number = client.request("guest.wait", name="a", state="stopped")
            self.qvmd.call("guest.kill", name="a")
            self.assertEqual(client.answer(number)["guest"]["state"], "stopped")

    def test_wait_has_its_own_time(self):
        self.start("a")
        self.refused("timeout", "guest.wait", name="a", state="stopped", timeout_ms=50)

    def test_who_waits_for_a_guest_that_is_forgotten_is_told(self):
        self.qvmd.call("guest.define", name="a", definition=bare("a"))
        with self.qvmd.client() as client:
            number = client.request("guest.wait", name="a", state="running")
            client.call("guest.list")
            self.qvmd.call("guest.undefine", name="a")
            with self.assertRaises(Refused) as caught:
                client.answer(number)
            self.assertEqual(caught.exception.name, "no-such-guest")

    # ---- console and log ----

    def test_the_console_is_read_by_offset_also_after_the_end(self):
        self.start("a", run="echo_hello,poweroff")
        self.qvmd.wait("a", "stopped")
        text = self.qvmd.console("a")
        self.assertIn("hello", text)
        data = self.qvmd.call("console.read", name="a", offset=5, size=4)
        self.assertEqual(data["next"], 9)
        self.assertEqual(data["instance"], 1)
        behind = self.qvmd.call("console.read", name="a", offset=1 << 40)
        self.assertEqual((behind["data"], behind["next"]), ("", len(text)))

    def test_an_attached_console_carries_both_directions(self):
        self.start("a")
        self.assert_console("a", "> ")
        with self.qvmd.client() as client:
            client.call("console.attach", name="a", no_scrollback=True)
            with socket.socket(fileno=client.fds.pop()) as console:
                console.settimeout(20)
                console.sendall(b"echo over and out\r")
                text = b""
                while text.count(b"over and out") < 2:
                    text += console.recv(4096)

    def test_input_larger_than_a_packet_arrives(self):
        self.start("a")
        self.assert_console("a", "> ")
        self.qvmd.type("a", "x" * 65000)
        self.qvmd.type("a", "\r")
        self.assert_console("a", "line too long", within=200)  # read byte by byte

    def test_a_console_that_nobody_reads_stalls_nothing(self):
        self.start("a", run="flood")
        for _ in range(3):
            data = self.qvmd.call("console.read", name="a", offset=0)
            time.sleep(0.1)
        self.assertGreater(data["next"], 0)
        self.qvmd.call("guest.kill", name="a")

    def test_the_log_is_kept_after_the_end(self):
        self.start("a", run="poweroff")
        self.qvmd.wait("a", "stopped")
        log = base64.b64decode(self.qvmd.call("guest.log", name="a")["data"]).decode()
        self.assertIn("poweroff", log)

    def test_a_guest_at_rest_has_no_console_to_attach(self):
        self.qvmd.call("guest.define", name="a", definition=bare("a"))
        for method, more in (("console.attach", {}), ("console.write", {"data": "eA=="}),
                             ("console.read", {})):
            self.refused("wrong-state", method, name="a", **more)

    # ---- events ----

    def test_events_are_pushed_and_replayed(self):
        with self.qvmd.client() as client:
            replayed = client.call("events.subscribe", since=0)
            self.assertEqual(replayed["events"][0]["what"], "daemon-start")
            self.start("a", run="poweroff")
            seen = [client.event(guest="a") for _ in range(4)]
        self.assertEqual([event.get("state", event["what"]) for event in seen],
                         ["defined", "starting", "running", "stopped"])
        self.assertEqual(self.qvmd.events(since=seen[0]["seq"], guest="a"), seen[1:])

    def test_show_tells_of_the_machine(self):
        self.start("a")
        show = self.qvmd.call("guest.show", name="a")
        self.assertEqual(show["guest"]["state"], "running")
        self.assertEqual(show["definition"]["sources"], bare("a")["sources"])
        self.assertIn("ser8250", [vdev["name"] for vdev in show["vdevs"]])
        self.assertEqual({claim["kind"] for claim in show["claims"]}, {"memory", "cpu", "file"})

    def test_show_does_not_wait_long_for_a_qvm_that_hangs(self):
        guest = self.start("a")
        os.kill(guest["pid"], signal.SIGSTOP)
        begin = time.monotonic()
        self.assertEqual(self.qvmd.call("guest.show", name="a")["guest"]["state"], "running")
        self.assertLess(time.monotonic() - begin, 2)
        os.kill(guest["pid"], signal.SIGCONT)


if __name__ == "__main__":
    main()
