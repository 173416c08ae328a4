#!/usr/bin/env python3
"""What operators do to a VM that runs: pause, resume, reset, reboot."""

import os
import signal
import threading
import time

from qvmtest import BUILD, QvmdTest, Refused, bare, main


class ActTest(QvmdTest):
    settings = ("restart-backoff 20ms 80ms",)

    def tearDown(self):
        self.assert_invariants()

    def states(self, name="a"):
        return [event["state"] for event in self.qvmd.events(guest=name)
                if event["what"] == "state"]

    def causes(self, name="a"):
        return [event["message"] for event in self.qvmd.events(guest=name)
                if event["what"] == "reboot"]

    def assert_same_run(self, before):
        after = self.qvmd.guest(before["name"])
        for member in ("pid", "instance", "started"):
            self.assertEqual(after[member], before[member])
        return after

    def assert_hears(self, text, name="a"):
        self.qvmd.type(name, f"echo {text}\r")
        self.assert_console(name, f"\n{text}")

    # ---- pause and resume ----

    def test_a_paused_guest_does_nothing_until_it_is_resumed(self):
        before = self.start_and_wait(more="cpu\ncpu\n")
        guest = self.act("pause")["guest"]
        self.assertEqual((guest["state"], guest["desired"]), ("paused", "running"))
        self.qvmd.type("a", "echo typed_while_paused\r")
        show = self.qvmd.call("guest.show", name="a")  # asked of its qvm, which lives
        self.assertIn("ser8250", [vdev["name"] for vdev in show["vdevs"]])
        self.assertNotIn("typed_while_paused", self.qvmd.console("a"))
        self.assertEqual(self.act("resume")["guest"]["state"], "running")
        self.assert_console("a", "\ntyped_while_paused")
        self.assertEqual(self.states(), ["starting", "running", "paused", "running"])
        self.assert_same_run(before)
        said = self.qvmd.console("a")
        self.assertIn("-- qvm: guest 'a' is paused --", said)
        self.assertIn("-- qvm: guest 'a' goes on --", said)

    def test_a_paused_guest_whose_process_is_stopped_and_goes_on_stays_paused(self):
        before = self.start_and_wait()
        self.act("pause")
        os.kill(before["pid"], signal.SIGSTOP)
        os.kill(before["pid"], signal.SIGCONT)
        for _ in range(2):  # its qvm has heard both when it answers again
            self.qvmd.call("guest.show", name="a")
        self.assertEqual(self.qvmd.guest("a")["state"], "paused")
        self.assertEqual(self.states(), ["starting", "running", "paused"])
        self.act("resume")
        self.assert_same_run(before)

    def test_a_busy_guest_says_nothing_more_when_it_is_paused(self):
        self.start("a", run="flood")
        self.assert_console("a", "of the flood")
        for _ in range(20):
            self.act("pause")
            said = self.qvmd.call("console.read", name="a")["next"]
            self.qvmd.call("guest.show", name="a")
            self.assertEqual(self.qvmd.call("console.read", name="a")["next"], said)
            self.act("resume")
            self.eventually(lambda: self.qvmd.call("console.read", name="a")["next"] > said + 100,
                            "it does not go on")

    def test_pausing_what_is_paused_and_resuming_what_runs_is_done_already(self):
        self.start_and_wait()
        self.assertEqual(self.act("resume")["note"], "it was running already")
        self.act("pause")
        self.assertEqual(self.act("pause")["note"], "it was paused already")
        self.assertEqual(self.act("start")["note"], "it was running already")
        self.assertEqual(self.states(), ["starting", "running", "paused"])

    def test_only_what_runs_can_be_paused_reset_or_rebooted(self):
        self.qvmd.call("guest.define", name="a", definition=bare("a"))
        for verb in ("pause", "resume", "reset", "reboot"):
            self.assertEqual(self.refused("wrong-state", f"guest.{verb}", name="a"),
                             "guest 'a' is defined")
        self.start_deaf("b")
        self.refused("timeout", "guest.stop", name="b", timeout_ms=1)
        for verb in ("pause", "resume", "reset", "reboot"):
            self.assertEqual(self.refused("wrong-state", f"guest.{verb}", name="b"),
                             "guest 'b' is stopping")

    def test_paused_is_paused_after_qvmd_was_killed(self):
        before = self.start_and_wait()
        self.start_and_wait("b")
        self.act("pause")
        for end in (self.qvmd.crash, self.qvmd.stop):
            end()
            self.qvmd.start()
            self.eventually(self.is_found("a"), "not adopted")
            self.eventually(self.is_found("b"), "not adopted")
            self.assertEqual([self.qvmd.guest(name)["state"] for name in ("a", "b")],
                             ["paused", "running"])
        self.act("resume")
        self.assert_hears("still_here")
        self.assert_same_run(before)

    def test_what_its_qvm_says_counts_when_the_store_says_otherwise(self):
        self.start_and_wait()
        self.act("pause")
        for forged, found in (("running", "paused"), ("unreachable", "paused")):
            self.qvmd.crash()
            self.qvmd.forge("UPDATE instance SET state = ? WHERE guest = 'a'", forged)
            self.qvmd.start()
            self.assertEqual(self.qvmd.wait("a", found)["state"], found)
        self.act("resume")
        self.qvmd.crash()
        self.qvmd.forge("UPDATE instance SET state = 'paused' WHERE guest = 'a'")
        self.qvmd.start()
        self.qvmd.wait("a", "running")

    def test_stop_wakes_a_paused_guest_so_that_it_hears_the_button(self):
        self.start_and_wait()
        self.act("pause")
        guest = self.qvmd.call("guest.stop", name="a", timeout_ms=20000)["guest"]
        self.assertEqual((guest["state"], guest["reason"]), ("stopped", "poweroff"))

    def test_kill_ends_a_paused_guest(self):
        self.start_and_wait()
        self.act("pause")
        guest = self.qvmd.call("guest.kill", name="a")["guest"]
        self.assertEqual((guest["state"], guest["reason"]), ("stopped", "killed"))

    def test_who_waits_for_a_qvm_that_hangs_is_told_of_its_end(self):
        guest = self.start_and_wait()
        os.kill(guest["pid"], signal.SIGSTOP)
        with self.qvmd.client() as client:
            waiting = client.request("guest.pause", name="a")
            self.qvmd.call("guest.list")
            self.qvmd.call("guest.kill", name="a")
            with self.assertRaises(Refused) as caught:
                client.answer(waiting)
        self.assertEqual(caught.exception.name, "cancelled")
        self.assertEqual(caught.exception.message,
                         "guest 'a' has ended (killed): it was ended by force")

    def test_a_wish_reaches_a_qvm_that_answers_late(self):
        guest = self.start_and_wait()
        os.kill(guest["pid"], signal.SIGSTOP)
        with self.qvmd.client() as client:
            waiting = client.request("guest.pause", name="a")
            self.qvmd.call("guest.list")
            os.kill(guest["pid"], signal.SIGCONT)
            self.assertEqual(client.answer(waiting)["guest"]["state"], "paused")

    # ---- reset ----

    def test_the_reset_button_begins_anew_in_the_same_process(self):
        before = self.start_deaf("a", "spin")
        self.act("reset")
        self.assert_console("a", "boot 2")
        after = self.assert_same_run(before)
        self.assertEqual((after["reboots"], self.causes()), (1, ["reset button"]))
        self.assertRegex(self.ctl("show", "a").stdout, r"\nlast reset +reset button\n")
        self.assertRegex(self.ctl("show", "--vdevs", "a").stdout,
                         r"\nlast-reset +reset button\n")
        self.qvmd.crash()
        self.qvmd.start()
        self.eventually(lambda: self.qvmd.guest("a").get("last_reset") == "reset button",
                        "the next qvmd does not know why")
        asked = [event["message"] for event in self.qvmd.events(guest="a")
                 if event["what"] == "asked"]
        self.assertEqual(asked, ["reset"])

    def test_a_paused_guest_that_is_reset_stays_paused(self):
        before = self.start_and_wait()
        self.act("pause")
        self.assertEqual(self.act("reset")["guest"]["state"], "paused")
        said = self.qvmd.console("a")
        self.assertIn("rebooted (1)", said)
        self.assertNotIn("boot 2", said)
        self.act("resume")
        self.assert_console("a", "boot 2")
        self.assert_same_run(before)

    def test_a_file_that_was_changed_ends_a_reset_in_words(self):
        path = os.path.join(self.qvmd.top, "image")
        with open(os.path.join(BUILD, "tests", "guests", "bare", "guest.bzimage"), "rb") as image:
            content = image.read()
        with open(path, "wb") as copy:
            copy.write(content)
        self.start_and_wait(image=path)
        with open(path, "r+b") as copy:
            copy.write(b"xx")
        message = self.refused("guest-failed", "guest.reset", name="a")
        self.assertIn("was changed in place", message)
        self.assertEqual(self.qvmd.guest("a")["reason"], "vmm-crash")

    def test_resets_are_told_apart(self):
        self.start_and_wait(more="vdev pckeyboard\nvdev pci-dummy\n")
        for count, command in enumerate(("reboot", "kbreset", "out cf9 6"), 2):
            self.qvmd.type("a", f"{command}\r")
            self.assert_console("a", f"boot {count}")
            self.eventually(lambda: self.qvmd.guest("a")["reboots"] == count - 1, "not told")
            self.eventually(lambda: self.qvmd.console("a").endswith("> "), "no prompt")
            time.sleep(0.15)  # those that follow each other faster are counted, not told
        self.act("reset")
        self.assertEqual(self.causes(), ["the guest wrote the reset register of ACPI",
                                         "the guest asked 'pckeyboard' for a reset",
                                         "the guest wrote the reset port 0xCF9",
                                         "reset button"])

    # ---- reboot ----

    def test_a_reboot_is_a_power_off_that_begins_anew(self):
        before = self.start_and_wait()
        self.act("reboot", timeout_ms=20000)
        self.assert_console("a", "boot 2")
        after = self.assert_same_run(before)
        self.assertEqual((after["state"], after["desired"]), ("running", "running"))
        self.assertEqual(self.causes(), ["the guest switched itself off, to be rebooted"])

    def test_a_guest_that_does_not_hear_is_a_timeout_or_reset_by_force(self):
        self.start_deaf("a", "spin")
        message = self.refused("timeout", "guest.reboot", name="a", timeout_ms=200)
        self.assertEqual(message, "guest 'a' has not switched itself off to be rebooted; "
                                  "`qvmctl reset a` does it by force")
        self.act("reboot", timeout_ms=200, force=True)
        self.assert_console("a", "boot 2")
        self.assertEqual(self.causes(), ["reset button"])

    def test_a_stop_after_a_reboot_that_was_not_heard_is_a_stop(self):
        before = self.start_and_wait()
        os.kill(before["pid"], signal.SIGSTOP)
        with self.qvmd.client() as one, self.qvmd.client() as other:
            rebooting = one.request("guest.reboot", name="a", timeout_ms=60000)
            self.qvmd.call("guest.list")
            stopping = other.request("guest.stop", name="a", timeout_ms=20000)
            self.qvmd.wait("a", "stopping")
            os.kill(before["pid"], signal.SIGCONT)
            self.assertEqual(other.answer(stopping)["guest"]["reason"], "poweroff")
            with self.assertRaises(Refused) as caught:
                one.answer(rebooting)
        self.assertEqual(caught.exception.name, "cancelled")

    def test_a_paused_guest_cannot_be_rebooted(self):
        self.start_and_wait()
        self.act("pause")
        self.assertEqual(self.refused("wrong-state", "guest.reboot", name="a"),
                         "guest 'a' is paused; resume it first, or reset it")

    def test_where_a_reboot_is_a_new_instance_so_is_that_of_an_operator(self):
        self.qvmd.call("guest.define", name="a", definition=bare("a"))
        self.qvmd.call("guest.set", name="a", values=[{"name": "on-reboot", "value": "restart"}])
        before = self.qvmd.call("guest.start", name="a")["guest"]
        self.assert_console("a", "> ")
        self.assertIn("its process has ended with that", self.act("reboot")["note"])
        self.eventually(lambda: self.qvmd.guest("a")["instance"] == 2, "not started again")
        self.assertNotEqual(self.qvmd.wait("a", "running")["pid"], before["pid"])

    # ---- dump ----

    def start_with_dumps(self, mode=0o777):
        self.cores = os.path.join(self.qvmd.top, "cores")
        os.mkdir(self.cores)
        os.chmod(self.cores, mode)
        return self.start_and_wait(more=f"dump {self.cores}\n")

    def test_a_dump_is_written_and_the_guest_goes_on(self):
        before = self.start_with_dumps()
        paths = [self.act("dump")["path"] for _ in range(2)]
        self.act("pause")
        paths.append(self.act("dump")["path"])
        self.assertEqual(self.qvmd.guest("a")["state"], "paused")
        self.act("resume")
        self.assert_hears("still_here")
        self.assert_same_run(before)
        self.assertEqual(sorted(os.listdir(self.cores)),
                         sorted(os.path.basename(path) for path in paths))
        for path in paths:
            self.assertRegex(path, r"/cores/a-\d{8}-\d{6}(-\d)?\.gcore$")
            with open(path, "rb") as file:
                self.assertEqual(file.read(18), b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x04\0")
            self.assertGreater(os.stat(path).st_size, 15 << 20)
        self.assertTrue(self.ctl("dump", "a").stdout.startswith(f"a: {self.cores}/a-"))

    def test_a_signal_to_the_qvm_makes_a_dump_too(self):
        guest = self.start_with_dumps()
        os.kill(guest["pid"], signal.SIGUSR2)
        self.eventually(lambda: os.listdir(self.cores), "no dump")
        self.assert_hears("still_here")

    def test_what_the_configuration_does_not_name_is_not_written(self):
        self.start_and_wait()
        self.assertIn("names no directory for dumps",
                      self.refused("unsupported", "guest.dump", name="a"))
        message = self.refused("config-error", "guest.start", name="b",
                               definition=bare("b", more='dump "|cat"\n'))
        self.assertRegex(message, r"^b\.qvmconf:\d+: 'dump \"\|COMMAND\"' is for qvm on the")

    def test_no_command_is_run_for_a_guest(self):
        touched = os.path.join(self.qvmd.top, "touched")
        message = self.refused("config-error", "guest.start", name="b", definition=bare(
            "b", more=f'hostdev >"|touch {touched}"\n'))
        self.assertRegex(message, r"^b\.qvmconf:\d+: 'hostdev \"\|COMMAND\"' is for qvm on the")
        self.assertFalse(os.path.exists(touched))

    def test_no_end_of_a_serial_line_is_waited_for_while_a_guest_runs(self):
        message = self.refused("config-error", "guest.start", name="b", definition=bare(
            "b", more="hostdev >/nowhere/said delayed forever\n"))
        self.assertRegex(message, r"^b\.qvmconf:\d+: 'delayed' is for qvm on the command line; have "
                         r"'/nowhere/said' there when the guest starts")

    def test_ports_and_memory_by_address_are_for_a_qvm_alone(self):
        for place, words in (("io:e0,4", "qvmd gives no ports of the host"),
                             ("mem:c8000000,4K,rw", "qvmd gives no memory of the host by address")):
            with self.subTest(place=place):
                message = self.refused("config-error", "guest.start", name="b",
                                       definition=bare("b", more=f"pass loc {place}\n"))
                self.assertRegex(message, rf"^b\.qvmconf:\d+: {words}")

    def test_a_directory_that_is_gone_is_told_and_the_guest_goes_on(self):
        self.start_with_dumps()
        os.rmdir(self.cores)
        message = self.refused("no-such-file", "guest.dump", name="a")
        self.assertIn(f"cannot make '{self.cores}/a-", message)
        os.kill(self.qvmd.guest("a")["pid"], signal.SIGUSR2)
        self.assert_hears("still_here")

    # ---- once, and by whom ----

    def test_a_repeated_reset_is_done_once_also_over_a_crash_of_qvmd(self):
        self.start_and_wait()
        for _ in range(2):
            self.act("reset", request_id="r")
        self.assertEqual(self.qvmd.guest("a")["reboots"], 1)
        self.qvmd.restart()
        self.eventually(self.is_found("a"), "not adopted")
        self.act("reset", request_id="r")
        self.assertEqual(self.qvmd.guest("a")["reboots"], 1)
        self.act("reset", request_id="s")
        self.assertEqual(self.qvmd.guest("a")["reboots"], 2)

    # ---- trace ----

    def test_trace_tells_what_a_guest_does(self):
        self.start("a", run="flood")
        self.assert_console("a", "of the flood")
        traced = self.ctl("trace", "-i", "300ms", "-n", "2", "a")
        self.assertEqual(traced.returncode, 0, traced.stderr)
        header, *rows = traced.stdout.split("\n\n")[1].splitlines()
        self.assertEqual(header.split(), ["NAME", "VCPU", "WHAT", "TIMES", "A", "SECOND"])
        told = {row[10:].rsplit(None, 2)[0].strip(): int(row.split()[-2]) for row in rows}
        self.assertGreater(told["exit io"], 100)
        self.assertGreaterEqual(told["entries"], told["exit io"])
        self.assertGreater(told["cpu ns"], 1000000)
        self.act("pause")
        time.sleep(0.3)  # a sample that is younger counts as one of now
        self.assertNotIn("entries", self.ctl("trace", "-i", "300ms", "a").stdout)
        self.assertEqual(self.ctl("trace", "nobody").returncode, 3)

    def test_trace_tells_of_interrupts(self):
        self.start("b")
        self.assert_console("b", "> ")
        over = threading.Event()

        def type_on():
            while not over.wait(0.05):
                self.qvmd.type("b", "x")

        typist = threading.Thread(target=type_on)
        typist.start()
        try:
            traced = self.ctl("trace", "-i", "1", "b")
        finally:
            over.set()
            typist.join()
        self.assertRegex(traced.stdout, r"b +- +vm irq_line_changes +[1-9]")

    # ---- qvmctl ----

    def test_qvmctl_does_it_to_many_guests(self):
        for name in ("web-1", "web-2", "db"):
            self.start_and_wait(name)
        done = self.ctl("pause", "web-*")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sorted(line.split(",")[0] for line in done.stdout.splitlines()),
                         ["web-1: paused", "web-2: paused"])
        listed = self.ctl("list", "--no-headers").stdout.splitlines()
        self.assertEqual([line.split()[:2] for line in listed],
                         [["db", "running"], ["web-1", "paused"], ["web-2", "paused"]])
        self.assertEqual(self.ctl("pause", "--all", "-q").returncode, 0)
        self.assertEqual(self.ctl("resume", "--all").stdout.count("running, pid"), 3)
        again = self.ctl("resume", "--strict", "db")
        self.assertEqual((again.returncode, again.stderr),
                         (4, "qvmctl: db: it was running already\n"))
        self.assertEqual(self.ctl("reset", "db").stdout, "db: reset\n")
        for name in ("web-1", "web-2"):
            self.assert_console(name, "> ")
        rebooted = self.ctl("reboot", "--timeout", "20", "web-1", "web-2")
        self.assertEqual(sorted(rebooted.stdout.splitlines()),
                         ["web-1: rebooted", "web-2: rebooted"], rebooted.stderr)
        self.ctl("kill", "db")
        refused = self.ctl("reset", "db", "web-1")
        self.assertEqual((refused.returncode, refused.stdout, refused.stderr),
                         (9, "web-1: reset\n", "qvmctl: guest 'db' is stopped\n"))


if __name__ == "__main__":
    main()
