#!/usr/bin/env python3
"""Restart by cause: back-off, giving up, what a user stopped, and all of it across qvmd's death."""

import datetime
import os
import signal
import time

from qvmtest import QvmdTest, Refused, bare, definition, main


class PolicyTest(QvmdTest):
    settings = ("restart-backoff 20ms 80ms", "restart-reset 10m")

    def tearDown(self):
        self.assert_invariants()

    def define(self, name="a", run="crash", **settings):
        self.qvmd.call("guest.define", name=name, definition=bare(name, run=run))
        return self.set(name, **settings)

    def set(self, name="a", **settings):
        return self.qvmd.call("guest.set", name=name, values=[
            {"name": key, "value": value} for key, value in settings.items()])["guest"]

    def states(self, name="a"):
        return [event["state"] for event in self.qvmd.events(guest=name)
                if event["what"] == "state"]

    def die(self, name="a"):
        """Its qvm is killed by a stranger."""
        guest = self.qvmd.wait(name, "running")
        os.kill(guest["pid"], signal.SIGKILL)
        return guest

    def await_instance(self, number, state="running", name="a"):
        self.eventually(lambda: (guest := self.qvmd.guest(name))["instance"] >= number and
                        guest["state"] == state, f"no instance {number} {state}", within=20)
        return self.qvmd.guest(name)

    # ---- by cause ----

    def test_a_guest_that_crashes_stays_failed_by_default(self):
        self.define()
        self.qvmd.call("guest.start", name="a")
        self.qvmd.wait("a", "failed")
        time.sleep(0.2)
        self.assertEqual(self.qvmd.guest("a")["instance"], 1)

    def test_a_guest_that_crashes_is_started_again_until_it_is_given_up(self):
        self.define(restart="on-failure", give_up="3")
        self.qvmd.call("guest.start", name="a")
        guest = self.qvmd.wait("a", "failed")
        self.assertEqual((guest["instance"], guest["restarts"], guest["tries"]), (4, 3, 3))
        self.assertEqual(guest["reason"], "guest-crash")
        self.assertRegex(guest["message"], "^given up after 3 tries in a row: ")
        self.assertEqual(self.states(), ["starting", "running", "backoff"] * 3 +
                         ["starting", "running", "failed"])
        self.assertNotIn("next_start", guest)

    def test_the_waits_double_up_to_the_longest(self):
        self.define(restart="on-failure", give_up="4")
        self.qvmd.call("guest.start", name="a")
        self.qvmd.wait("a", "failed")
        times = {state: [datetime.datetime.fromisoformat(event["time"])
                         for event in self.qvmd.events(guest="a") if event.get("state") == state]
                 for state in ("backoff", "starting")}
        waits = [(end - begin).total_seconds()
                 for begin, end in zip(times["backoff"], times["starting"][1:])]
        self.assertEqual(len(waits), 4)
        for wait, least in zip(waits, (0.02, 0.04, 0.08, 0.08)):
            self.assertGreaterEqual(wait, least - 0.002)  # of which the clocks tell milliseconds

    def test_a_poweroff_is_followed_by_a_new_instance_with_always_alone(self):
        self.define(run="poweroff", restart="on-failure")
        self.qvmd.call("guest.start", name="a")
        guest = self.qvmd.wait("a", "stopped")
        self.assertEqual((guest["instance"], guest["reason"]), (1, "poweroff"))
        self.set(restart="always", give_up="2")
        self.qvmd.call("guest.start", name="a")
        guest = self.qvmd.wait("a", "failed")
        self.assertEqual((guest["instance"], guest["reason"]), (4, "poweroff"))

    def test_a_qvm_that_a_stranger_kills_is_started_again(self):
        self.define(run="", restart="on-failure")
        first = self.qvmd.call("guest.start", name="a")["guest"]
        self.die()
        guest = self.await_instance(2)
        self.assertNotEqual(guest["pid"], first["pid"])
        self.assertEqual((guest["restarts"], guest["tries"], guest["desired"]), (1, 1, "running"))

    def test_a_configuration_error_is_never_tried_again(self):
        self.qvmd.call("guest.define", name="a", definition=definition("system a\nwings 2\n"))
        self.set(restart="always")
        self.refused("config-error", "guest.start", name="a")
        time.sleep(0.1)
        guest = self.qvmd.guest("a")
        self.assertEqual((guest["state"], guest["instance"]), ("failed", 1))

    def test_what_the_host_denies_is_tried_again_and_who_started_it_is_told(self):
        path = os.path.join(self.qvmd.top, "image")
        self.qvmd.call("guest.define", name="a", definition=bare("a", image=path))
        self.set(restart="on-failure", give_up="0")
        message = self.refused("no-such-file", "guest.start", name="a")
        self.assertRegex(message, r"^a\.qvmconf:3: .*; it is tried again in 20 ms$")
        self.eventually(lambda: self.qvmd.guest("a")["instance"] > 2, "it was not tried again")
        os.link(os.path.join(os.environ["QVM_BUILD"], "tests/guests/bare/guest.bzimage"), path)
        self.qvmd.wait("a", "running")

    # ---- what users do ----

    def test_a_guest_that_the_user_stopped_or_killed_is_never_started_again(self):
        self.define(run="", restart="always")
        for end in ("guest.stop", "guest.kill"):
            instance = self.qvmd.call("guest.start", name="a")["guest"]["instance"]
            self.assert_console("a", "> ")
            guest = self.qvmd.call(end, name="a")["guest"]
            self.assertEqual(guest["state"], "stopped")
            time.sleep(0.1)
            self.assertEqual(self.qvmd.guest("a")["instance"], instance)

    def test_settings_are_shown_listed_told_and_kept_by_a_new_definition(self):
        self.define(run="", restart="always", **{"on-reboot": "restart"}, delay="2s")
        self.qvmd.call("guest.define", name="a", definition=bare("a", ram="32M"))
        settings = self.qvmd.call("guest.show", name="a")["settings"]
        self.assertEqual(settings, {"restart": "always", "on_reboot": "restart", "after": [],
                                    "delay_ms": 2000, "give_up": 10})
        self.qvmd.restart()
        self.assertEqual(self.qvmd.call("guest.show", name="a")["settings"], settings)
        self.assertEqual(self.qvmd.guest("a")["restart"], "always")
        told = [event["message"] for event in self.qvmd.events() if event["what"] == "settings"]
        self.assertEqual(told, ["restart=always on-reboot=restart delay=2s"])

    def test_wrong_settings_are_refused_whole_and_in_words(self):
        self.define(run="")
        for values, words in (
                ({"restart": "always", "wings": "2"}, "there is no setting 'wings'"),
                ({"restart": "always", "after": "b"}, "there is no guest 'b' to come after"),
                ({"after": "a"}, "guest 'a' would come after itself")):
            with self.assertRaises(Refused) as caught:
                self.set(**values)
            self.assertEqual(caught.exception.name, "invalid-params")
            self.assertIn(words, caught.exception.message)
            self.assertNotIn("restart", self.qvmd.guest("a"))

    def test_a_first_start_that_fails_leaves_the_definition_and_its_reason(self):
        """So that `show` and `log` tell why, and `start NAME` is enough when it is mended."""
        path = os.path.join(self.qvmd.top, "image")
        self.refused("no-such-file", "guest.start", name="a", definition=bare("a", image=path))
        self.assertEqual(self.qvmd.guest("a")["state"], "failed")
        os.link(os.path.join(os.environ["QVM_BUILD"], "tests/guests/bare/guest.bzimage"), path)
        self.qvmd.call("guest.start", name="a")

    # ---- reboots ----

    def test_a_reboot_is_a_new_instance_if_it_is_set_so(self):
        self.define(run="", **{"on-reboot": "restart"})
        first = self.qvmd.call("guest.start", name="a")["guest"]
        self.assert_console("a", "> ")
        self.qvmd.type("a", "reboot\r")
        guest = self.await_instance(2)
        self.assertNotEqual(guest["pid"], first["pid"])
        self.assertEqual((guest["restarts"], guest.get("tries", 0), guest.get("reboots", 0)),
                         (1, 0, 0))
        ended = [event for event in self.qvmd.events(guest="a") if event.get("reason")]
        self.assertEqual([event["reason"] for event in ended], ["reboot"])
        self.set(**{"on-reboot": "reset"})
        self.qvmd.call("guest.kill", name="a")
        again = self.qvmd.call("guest.start", name="a")["guest"]
        self.assert_console("a", "> ")
        self.qvmd.type("a", "reboot\r")
        self.eventually(lambda: self.qvmd.guest("a").get("reboots") == 1, "it did not reboot")
        self.assertEqual(self.qvmd.guest("a")["pid"], again["pid"])

    # ---- across the death of qvmd ----

    def test_a_guest_that_died_while_qvmd_was_away_is_started_again(self):
        self.define(run="", restart="on-failure")
        guest = self.qvmd.call("guest.start", name="a")["guest"]
        self.qvmd.crash()
        pidfd = os.pidfd_open(guest["pid"])
        os.kill(guest["pid"], signal.SIGKILL)
        os.close(pidfd)
        self.qvmd.start()
        self.assertEqual(self.await_instance(2)["restarts"], 1)

    def test_a_row_of_tries_goes_on_over_the_death_of_qvmd(self):
        self.define(restart="on-failure", give_up="6")
        self.qvmd.call("guest.start", name="a")
        for _ in range(3):
            time.sleep(0.05)
            self.qvmd.restart()
        guest = self.qvmd.wait("a", "failed")
        self.assertEqual(guest["tries"], 6)


class LongBackoffTest(QvmdTest):
    """Waits that do not end by themselves."""

    settings = ("restart-backoff 1h 1h",)

    def tearDown(self):
        self.assert_invariants()

    def bring_to_backoff(self, run="crash"):
        self.qvmd.call("guest.define", name="a", definition=bare("a", run=run))
        self.qvmd.call("guest.set", name="a", values=[{"name": "restart", "value": "on-failure"}])
        self.qvmd.call("guest.start", name="a")
        return self.qvmd.wait("a", "backoff")

    def test_backoff_shows_when_the_next_try_is(self):
        guest = self.bring_to_backoff()
        self.assertEqual((guest["reason"], guest["tries"]), ("guest-crash", 1))
        self.assertGreater(guest["next_start"], guest["ended"])
        self.assertEqual(self.qvmd.rows("SELECT * FROM claim"), [])

    def test_stop_cancels_it_and_keeps_the_reason(self):
        self.bring_to_backoff()
        guest = self.qvmd.call("guest.stop", name="a")["guest"]
        self.assertEqual((guest["state"], guest["desired"], guest["reason"]),
                         ("stopped", "stopped", "guest-crash"))
        self.assertNotIn("next_start", guest)

    def test_start_in_backoff_starts_at_once_and_begins_a_new_row(self):
        self.bring_to_backoff()
        guest = self.qvmd.call("guest.start", name="a")["guest"]
        self.assertEqual(guest["instance"], 2)
        self.assertEqual((guest.get("restarts", 0), guest.get("tries", 0)), (0, 0))

    def test_another_policy_ends_the_wait(self):
        self.bring_to_backoff()
        guest = self.qvmd.call("guest.set", name="a",
                               values=[{"name": "restart", "value": "no"}])["guest"]
        self.assertEqual((guest["state"], guest["reason"]), ("failed", "guest-crash"))

    def test_a_guest_in_backoff_may_be_undefined(self):
        self.bring_to_backoff()
        self.qvmd.call("guest.undefine", name="a")
        self.assertEqual(self.qvmd.guests(), {})

    def test_a_new_qvmd_goes_on_with_the_wait_and_no_jump_of_the_clock_makes_it_longer(self):
        before = self.bring_to_backoff()
        self.qvmd.restart()
        guest = self.qvmd.guest("a")
        self.assertEqual((guest["state"], guest["tries"]), ("backoff", 1))
        self.assertEqual(guest["next_start"][:16], before["next_start"][:16])
        self.qvmd.crash()
        self.qvmd.forge("UPDATE instance SET ended = '2199-01-01T00:00:00.000Z'")
        self.qvmd.start()
        self.assertLess(self.qvmd.guest("a")["next_start"][:4], "2100")
        self.qvmd.crash()
        self.qvmd.forge("UPDATE instance SET ended = '1999-01-01T00:00:00.000Z'")
        self.qvmd.start()
        self.eventually(lambda: self.qvmd.guest("a")["instance"] == 2, "it was not started")

    def test_after_a_boot_of_the_host_a_wait_is_over(self):
        self.bring_to_backoff()
        self.qvmd.crash()
        self.qvmd.forge("UPDATE instance SET boot_id = '11111111-2222-3333-4444-555555555555'")
        self.qvmd.start()
        guest = self.qvmd.guest("a")
        self.assertEqual((guest["state"], guest["instance"]), ("failed", 1))


if __name__ == "__main__":
    main()
