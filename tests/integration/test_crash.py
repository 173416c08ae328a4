#!/usr/bin/env python3
"""qvmd is killed at each of its durable steps in turn (crashtest.py)."""

import glob
import os
import signal
import sys

from crashtest import Crash, CrashBase, run_each
from qvmtest import BUILD, Refused, bare, definition, main, start_ticks

LIAR = os.path.join(BUILD, "tests", "integration", "fake_liar")


class CrashTest(CrashBase):
    def test_define(self):
        def check(result):
            if result is not None:
                self.assertEqual(self.qvmd.guest("a")["state"], "defined")
            elif "a" in self.qvmd.guests():
                self.assertEqual(self.qvmd.call("guest.show", name="a")["definition"]["sources"],
                                 bare("a")["sources"])

        self.at_every_point(self.forget, lambda: self.call(
            "guest.define", name="a", definition=bare("a")), check)

    def test_undefine(self):
        def prepare():
            self.put_to_rest()
            self.start("a", run="poweroff")
            self.becomes("a", "stopped")
            self.settle("a")

        def check(result):
            if result is not None:
                self.assertNotIn("a", self.qvmd.guests())
            if "a" not in self.qvmd.guests():
                self.qvmd.call("guest.define", name="a", definition=bare("a"))
                self.assertEqual(self.logs("a"), [], "the log of another guest is left behind")

        self.at_every_point(prepare, lambda: self.call("guest.undefine", name="a"), check)

    def logs(self, name):
        return [one for one in os.listdir(os.path.join(self.qvmd.home, "log"))
                if one.startswith(name + ".")]

    def test_start(self):
        def check(result):
            if "a" not in self.qvmd.guests():
                self.assertIsNone(result)
                return
            guest = self.becomes("a", "defined", "running", "failed", "stopped")
            if result is not None:
                self.assertEqual(guest["pid"], result["guest"]["pid"])
            if guest["state"] == "running":
                self.assert_console("a", "> ")

        # a terminal and the image are opened by a hand, which keeps the terminal and grants it
        master, terminal = os.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, terminal)
        more = ("vdev ser8250\nloc io:0x2f8,8\nintr ioapic:3\n"
                f"hostdev >{os.ttyname(terminal)}\n")
        self.at_every_point(self.forget, lambda: self.call(
            "guest.start", name="a", definition=bare("a", more=more)), check)

    def test_start_that_is_denied(self):
        def act():
            try:
                self.call("guest.start", name="a", definition=bare("a", ram="900G"))
            except Refused as refused:
                self.settle("a")
                return refused.name
            return "started"

        def check(result):
            if result is not None:
                self.assertEqual(result, "insufficient")
            if "a" in self.qvmd.guests():
                self.becomes("a", "defined", "failed")

        self.at_every_point(self.forget, act, check)

    def test_stop(self):
        def act():
            guest = self.call("guest.stop", name="a", timeout_ms=20000)["guest"]
            self.settle("a")
            return guest

        def check(result):
            guest = self.qvmd.guest("a")
            if result is not None or guest["desired"] == "stopped":
                guest = self.becomes("a", "stopped")
                self.assertEqual(guest["reason"], "poweroff")
            else:
                self.becomes("a", "running")

        self.at_every_point(self.run_anew, act, check)

    def test_kill(self):
        def prepare():  # one that would hear no button
            self.put_to_rest()
            self.start_deaf("a")

        def act():
            guest = self.call("guest.kill", name="a")["guest"]
            self.settle("a")
            return guest

        def check(result):
            guest = self.qvmd.guest("a")
            if result is not None or guest["desired"] == "stopped":
                guest = self.becomes("a", "stopped")
                self.assertEqual(guest["reason"], "killed")
            else:
                self.becomes("a", "running")

        self.at_every_point(prepare, act, check)

    def test_pause(self):
        def check(result):
            guest = self.becomes("a", *(("paused",) if result is not None else
                                        ("paused", "running")))
            if guest["state"] == "paused":
                self.qvmd.call("guest.resume", name="a")
            self.assert_console("a", "> ")

        self.at_every_point(self.run_anew, lambda: self.call("guest.pause", name="a"), check)

    def test_reset_that_is_repeated(self):
        call = {"id": 0}

        def prepare():
            self.run_anew()
            call["id"] += 1

        def act():
            return self.call("guest.reset", name="a", request_id=str(call["id"]))

        def check(_):
            self.becomes("a", "running")
            act()
            self.assertEqual(self.qvmd.guest("a")["reboots"], 1)

        self.at_every_point(prepare, act, check)

    def test_the_guest_s_own_end(self):
        def act():
            try:
                self.qvmd.type("a", "poweroff\r")
                self.becomes("a", "stopped")
                self.settle("a")
            except (OSError, EOFError):
                raise Crash from None

        def check(_):
            self.assertEqual(self.becomes("a", "stopped")["reason"], "poweroff")

        self.at_every_point(self.run_anew, act, check)

    def test_adoption(self):
        guests = {}

        def prepare():
            for name in ("stops", "ended", "runs"):
                self.put_to_rest(name)
            guests["runs"] = self.start("runs")["pid"]
            guests["stops"] = self.start_deaf("stops")["pid"]
            ended = self.start("ended", run="ticks_50,poweroff")["pid"]
            self.refused("timeout", "guest.stop", name="stops", timeout_ms=1)
            self.qvmd.crash()
            self.eventually(lambda: start_ticks(ended) is None, "it goes on")
            os.mkdir(os.path.join(self.qvmd.home, "guests", "gone.7"))

        def act():
            self.qvmd.start()
            if self.qvmd.process.poll() is not None:
                raise Crash
            try:
                self.settle_adoption()
            except (OSError, EOFError):
                raise Crash from None

        def check(_):
            self.settle_adoption()
            for name, state in (("runs", "running"), ("stops", "stopping")):
                guest = self.becomes(name, state)
                self.assertEqual(guest["pid"], guests[name])
            self.assertEqual(self.becomes("ended", "stopped")["reason"], "poweroff")

        self.at_every_point(prepare, act, check)

    def settle_adoption(self):
        def is_settled():
            news = [event["what"] for event in self.qvmd.events(since=0)
                    if event["what"] in ("daemon-start", "adopted")]
            return news[-2:] == ["adopted", "adopted"]  # `runs` and the bystander

        self.eventually(is_settled, "not adopted")
        self.settle("ended")

    def test_what_is_kept_beside_the_store_is_never_half_of_it(self):
        def prepare():
            guest = self.run_anew()
            self.qvmd.crash()
            identity = f"a.{guest['instance']}/identity"
            os.unlink(os.path.join(self.qvmd.home, "guests", identity))
            return guest

        def adopt():
            self.qvmd.start()
            try:
                self.eventually(self.is_found("a"), "not adopted")
            except (OSError, EOFError):
                self.qvmd.process.wait(10)
            return self.qvmd.disarm()

        for name in ("identity begun", "identity written aside", "identity written"):
            before = prepare()
            self.qvmd.arm(name)
            self.assertEqual(adopt()[-1], name)
            self.qvmd.start()
            self.eventually(self.is_found("a"), "not adopted")
            self.qvmd.crash()
            for path in glob.glob(self.qvmd.store + "*"):
                os.unlink(path)
            self.qvmd.start()
            self.assert_runs_on(before)
            self.assert_all_is_well()

    def test_set(self):
        def prepare():
            self.forget()
            self.qvmd.call("guest.define", name="a", definition=bare("a"))

        def check(result):
            settings = self.qvmd.call("guest.show", name="a")["settings"]
            self.assertIn(settings["restart"], ("always",) if result is not None else
                          ("no", "always"))

        self.at_every_point(prepare, lambda: self.call(
            "guest.set", name="a", values=[{"name": "restart", "value": "always"}]), check)

    def test_restart_by_policy(self):
        before = {}

        def prepare():
            self.forget()
            self.qvmd.call("guest.define", name="a", definition=bare("a"))
            self.qvmd.call("guest.set", name="a",
                           values=[{"name": "restart", "value": "on-failure"}])
            before["pid"] = self.start("a")["pid"]

        def runs_again(guest):
            return guest["state"] == "running" and guest["pid"] != before["pid"]

        def act():
            os.kill(before["pid"], signal.SIGKILL)
            self.eventually(lambda: runs_again(self.call("guest.list", names=["a"])["guests"][0]),
                            "it is not started again")

        def check(_):
            self.eventually(lambda: runs_again(self.qvmd.guest("a")), "it is not started again")
            self.assertGreaterEqual(self.qvmd.guest("a")["restarts"], 1)

        self.at_every_point(prepare, act, check)


class CrashSpareTest(CrashBase):
    """A start that takes a process that was made before."""

    settings = ()

    def test_start_with_a_spare(self):
        def prepare():
            self.forget()
            self.eventually(lambda: [pid for pid in self.qvmd.spares() if self.waits(pid)],
                            "there is no spare")

        def check(result):
            if "a" in self.qvmd.guests():
                guest = self.becomes("a", "defined", "running", "failed", "stopped")
                if result is not None:
                    self.assertEqual(guest["pid"], result["guest"]["pid"])

        self.at_every_point(prepare, lambda: self.call(
            "guest.start", name="a", definition=bare("a")), check)

    @staticmethod
    def waits(pid):
        try:
            with open(f"/proc/{pid}/syscall", encoding="utf-8") as file:
                return file.read().startswith("47 ")  # recvmsg
        except OSError:
            return False


class CrashDrainTest(CrashBase):
    """The host is emptied, and the next qvmd goes on with that."""

    def assert_all_is_well(self):
        self.assert_invariants()  # the bystander is to end, too

    def test_drain(self):
        def prepare():
            self.qvmd.call("host.drain", end=True)
            for name in ("a", "bystander"):
                self.start(name)
                self.assert_console(name, "> ")

        def check(result):
            drains = "drain" in self.qvmd.call("host.info")
            if result is not None:
                self.assertTrue(drains, "it was answered, and is not so")
            for name in ("a", "bystander"):
                guest = self.becomes(name, "stopped" if drains else "running")
                if drains:
                    self.assertEqual(guest["reason"], "drain")
            if drains:
                self.refused("draining", "guest.start", name="a")

        self.at_every_point(prepare, lambda: self.call("host.drain", timeout_ms=20000), check)


class CrashEnabledTest(CrashBase):
    """Enabled guests are started in their order, and the next qvmd goes on with that."""

    def define_in_order(self):
        for name in ("b", "a"):
            self.forget(name)
        for name, after in (("a", ""), ("b", "a")):
            self.qvmd.call("guest.define", name=name, definition=bare(name))
            self.qvmd.call("guest.set", name=name, values=[
                {"name": "enabled", "value": "yes"}, {"name": "after", "value": after}])

    def turns(self):
        return self.qvmd.rows("SELECT guest FROM turn")

    def test_start_enabled(self):
        def check(result):
            turns = self.turns()
            guests = [self.qvmd.guest(name) for name in ("a", "b")]
            if result is None and not turns and not any("instance" in one for one in guests):
                return  # it died before anything was written
            for name in ("a", "b"):
                self.becomes(name, "running")
            self.eventually(lambda: not self.turns(), "turns are left")

        self.at_every_point(self.define_in_order, lambda: self.call("host.start_enabled"), check)

    def test_a_guest_in_whose_start_qvmd_ends_each_time_is_left(self):
        self.define_in_order()
        self.qvmd.arm("turn begun")
        with self.assertRaises(Crash):
            self.call("host.start_enabled")
        for _ in range(2):
            self.qvmd.process.wait(20)
            self.qvmd.start()
        self.qvmd.process.wait(20)
        self.qvmd.disarm()
        self.qvmd.start()
        self.assertIn("not started guest=a", self.qvmd.log())
        self.eventually(lambda: not self.turns(), "turns are left")
        self.assertEqual([self.qvmd.guest(name)["state"] for name in ("a", "b")],
                         ["defined", "defined"])
        self.assert_all_is_well()


class CrashHoldTest(CrashBase):
    """What nobody else may have is freed when its lock is, and not before: by a hand."""

    worker = LIAR

    def hold(self):
        """The guest that writes to a file."""
        return self.call("guest.start", name="holds-a-file", definition=definition(self.file))

    def setUp(self):
        super().setUp()
        self.file = os.path.join(self.qvmd.top, "file")
        with open(self.file, "w", encoding="utf-8"):
            pass

    def settle(self, name):
        self.eventually(lambda: self.call("guest.list") and self.claims(name) == [] and
                        not [one for one in self.qvmd.directories() if one.startswith(name + ".")],
                        "it holds on")

    def claims(self, name):
        return self.qvmd.rows("SELECT claim.name FROM claim JOIN instance"
                              " ON instance.id = claim.instance WHERE guest = ?", name)

    def test_start_that_holds_a_file(self):
        def check(result):
            if "holds-a-file" in self.qvmd.guests():
                guest = self.becomes("holds-a-file", "defined", "running", "failed", "stopped")
                if result is not None or guest["state"] == "running":
                    self.assertEqual(self.claims("holds-a-file"), [(self.file,)])
                else:
                    self.settle("holds-a-file")

        self.at_every_point(lambda: self.forget("holds-a-file"), self.hold, check)

    def test_stop_of_one_that_holds_a_file(self):
        def prepare():
            self.put_to_rest("holds-a-file")
            self.hold()

        def act():
            guest = self.call("guest.stop", name="holds-a-file", timeout_ms=5000)["guest"]
            self.settle("holds-a-file")
            return guest

        def check(result):
            guest = self.qvmd.guest("holds-a-file")
            if result is not None or guest["desired"] == "stopped":
                guest = self.becomes("holds-a-file", "stopped")
                self.assertEqual(guest["reason"], "poweroff")
                self.settle("holds-a-file")
            else:
                self.becomes("holds-a-file", "running")

        self.at_every_point(prepare, act, check)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main()
    sys.exit(run_each(__file__, (CrashTest, CrashDrainTest, CrashSpareTest, CrashHoldTest)))
