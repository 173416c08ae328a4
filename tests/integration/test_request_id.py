#!/usr/bin/env python3
"""Calls with a request_id: however often they are made, they are done once."""


import os
import subprocess

from qvmtest import BUILD, QvmdTest, Refused, bare, definition, main

QVMCTL = os.path.join(BUILD, "cli", "qvmctl")

KEPT = 256  # calls of one user that are remembered


class RequestIdTest(QvmdTest):
    settings = ("restart-backoff 20ms 80ms",)

    def tearDown(self):
        self.assert_invariants()

    def both(self, method, **params):
        """The same call twice."""
        return [self.qvmd.call(method, **params) for _ in range(2)]

    def starts(self, name="a"):
        return [event["instance"] for event in self.qvmd.events(guest=name)
                if event.get("state") == "starting"]

    # ---- while qvmd lives ----

    def test_a_repeated_start_has_the_same_answer_even_when_the_guest_is_gone(self):
        first = self.qvmd.call("guest.start", name="a", definition=bare("a"), request_id="r1")
        self.qvmd.call("guest.kill", name="a")
        again = self.qvmd.call("guest.start", name="a", definition=bare("a"), request_id="r1")
        self.assertEqual(again, first)
        self.assertEqual(self.qvmd.guest("a")["state"], "stopped")
        self.qvmd.call("guest.start", name="a", definition=bare("a"), request_id="r2")
        self.assertEqual(self.starts(), [1, 2])

    def test_who_repeats_a_call_that_is_under_way_waits_with_the_first(self):
        self.start_deaf("a")
        with self.qvmd.client() as one, self.qvmd.client() as other:
            params = {"name": "a", "timeout_ms": 400, "kill": True, "request_id": "end"}
            first = one.request("guest.stop", **params)
            self.qvmd.wait("a", "stopping")
            second = other.request("guest.stop", **params)
            self.assertEqual(one.answer(first), other.answer(second))
        self.assertEqual([event["state"] for event in self.qvmd.events(guest="a")
                          if event["what"] == "state"],
                         ["starting", "running", "stopping", "stopped"])

    def test_a_client_that_was_cut_off_learns_the_outcome_by_repeating(self):
        with self.qvmd.client() as client:
            client.request("guest.start", name="a", definition=bare("a"), request_id="r")
        outcome = self.qvmd.call("guest.start", name="a", definition=bare("a"), request_id="r")
        self.assertEqual((outcome["guest"]["state"], outcome["guest"]["instance"]), ("running", 1))
        self.assertEqual(self.starts(), [1])

    def test_a_failed_start_is_told_again_and_not_tried_again(self):
        text = "system a\nwings 2\n"
        messages = [self.refused("config-error", "guest.start", name="a", request_id="r",
                                 definition=definition(text, name="a.qvmconf"))
                    for _ in range(2)]
        self.assertEqual(messages[0], messages[1])
        self.assertRegex(messages[0], r"^a\.qvmconf:2:")
        self.assertEqual(self.starts(), [1])

    def test_an_id_stands_for_one_call_with_its_parameters(self):
        self.qvmd.call("guest.define", name="a", definition=bare("a"), request_id="r")
        for method, params, words in (
                ("guest.define", {"name": "a", "definition": bare("a", ram="32M")},
                 "request_id 'r' stands for another call already: guest.define with other "
                 "parameters"),
                ("guest.start", {"name": "a"},
                 "request_id 'r' stands for another call already: guest.define")):
            self.assertEqual(self.refused("invalid-params", method, request_id="r", **params),
                             words)
        self.assertEqual(self.qvmd.guest("a")["state"], "defined")
        self.assertEqual(self.qvmd.guest("a")["generation"], 1)

    def test_a_call_under_way_refuses_others_with_its_id(self):
        self.start_deaf("a")
        with self.qvmd.client() as client:
            number = client.request("guest.stop", name="a", timeout_ms=300, kill=True,
                                    request_id="r")
            self.qvmd.wait("a", "stopping")
            self.refused("invalid-params", "guest.kill", name="a", request_id="r")
            client.answer(number)

    def test_every_mutating_method_is_done_once(self):
        self.assertEqual(*self.both("guest.define", name="a", definition=bare("a"),
                                    request_id="1"))
        self.assertEqual(*self.both("guest.set", name="a", request_id="2",
                                    values=[{"name": "enabled", "value": "yes"}]))
        self.assertEqual(*self.both("host.start_enabled", request_id="3"))
        self.assertEqual(*self.both("guest.kill", name="a", request_id="4"))
        self.assertEqual(*self.both("guest.start", name="a", request_id="5"))
        self.assertEqual(*self.both("host.drain", kill=True, timeout_ms=20, request_id="6"))
        self.assertEqual(*self.both("host.drain", end=True, request_id="7"))
        self.qvmd.call("guest.stop", name="a", request_id="8")
        self.assertEqual(*self.both("guest.undefine", name="a", request_id="9"))
        changes = [event.get("state", event["what"]) for event in self.qvmd.events()]
        self.assertEqual((changes.count("starting"), changes.count("settings"),
                          changes.count("drain"), changes.count("drain-end"),
                          changes.count("defined"), changes.count("undefined")),
                         (2, 1, 1, 1, 1, 1))

    def test_what_was_refused_before_anything_was_done_may_go_better_the_next_time(self):
        self.refused("no-such-guest", "guest.start", name="a", request_id="r")
        self.qvmd.call("guest.define", name="a", definition=bare("a"))
        self.qvmd.call("guest.start", name="a", request_id="r")

    def test_a_time_that_is_over_is_no_outcome(self):
        self.start_deaf("a")
        params = {"name": "a", "timeout_ms": 100, "request_id": "r"}
        self.refused("timeout", "guest.stop", **params)
        with self.qvmd.client() as client:
            number = client.request("guest.stop", **params)
            self.qvmd.call("guest.kill", name="a")
            try:
                client.answer(number)
            except Refused as refused:
                self.assertEqual(refused.name, "timeout")
        self.assertEqual(self.qvmd.call("guest.stop", **params)["guest"]["state"], "stopped")

    def test_an_id_has_a_longest(self):
        self.qvmd.call("guest.define", name="a", definition=bare("a"), request_id="x" * 127)
        self.refused("invalid-params", "guest.define", name="a", definition=bare("a"),
                     request_id="x" * 128)

    def test_so_many_calls_are_remembered_and_no_more(self):
        with self.qvmd.client() as client:
            client.call("guest.define", name="a", definition=bare("a"), request_id="0")
            for number in range(1, KEPT + 1):
                client.call("guest.set", name="a", request_id=str(number),
                            values=[{"name": "give-up", "value": str(number)}])
            self.assertEqual(self.qvmd.rows("SELECT count(*) FROM request"), [(KEPT,)])
            client.call("guest.set", name="a", request_id="1",
                        values=[{"name": "give-up", "value": "1"}])
            settings = client.call("guest.show", name="a")["settings"]
            self.assertEqual(settings["give_up"], KEPT)
            # "0" is forgotten: it may stand for something else now
            client.call("guest.set", name="a", request_id="0",
                        values=[{"name": "give-up", "value": "7"}])
            self.assertEqual(client.call("guest.show", name="a")["settings"]["give_up"], 7)

    def test_qvmctl_repeats_for_each_guest(self):
        def qvmctl(*words, request_id="day-1"):
            return subprocess.run(
                [QVMCTL, "--socket", self.qvmd.socket, "--request-id", request_id, *words],
                capture_output=True, text=True, timeout=60, check=False)

        for name in "ab":
            self.qvmd.call("guest.define", name=name, definition=bare(name))
        first = qvmctl("start", "a", "b")
        self.assertEqual((first.returncode, len(first.stdout.splitlines())), (0, 2))
        for name in "ab":
            self.qvmd.call("guest.kill", name=name)
        again = qvmctl("start", "a", "b")
        self.assertEqual(sorted(again.stdout.splitlines()), sorted(first.stdout.splitlines()))
        self.assertEqual(self.starts("a") + self.starts("b"), [1, 2])
        other = qvmctl("kill", "a")
        self.assertEqual(other.returncode, 2)
        self.assertIn("request_id 'day-1/a' stands for another call", other.stderr)
        self.assertEqual(qvmctl("list", request_id="x" * 64).returncode, 2)
        self.assertEqual(qvmctl("drain", request_id="d").returncode, 0)
        self.assertEqual(qvmctl("drain", "--end", request_id="d").returncode, 2)
        self.assertEqual(qvmctl("drain", "--end", request_id="e").returncode, 0)

    # ---- across the death of qvmd ----

    def test_answers_outlive_qvmd(self):
        first = self.qvmd.call("guest.start", name="a", definition=bare("a"), request_id="r")
        self.qvmd.restart()
        again = self.qvmd.call("guest.start", name="a", definition=bare("a"), request_id="r")
        self.assertEqual(again, first)
        self.assertEqual(self.starts(), [1])

    def test_an_answer_that_qvmd_gave_because_it_ended_is_none(self):
        self.start_deaf("a")
        with self.qvmd.client() as client:
            number = client.request("guest.stop", name="a", timeout_ms=60000, request_id="r")
            self.qvmd.wait("a", "stopping")
            self.assertEqual(self.qvmd.stop(), 0)
            with self.assertRaises((Refused, EOFError)):
                client.answer(number)
        self.qvmd.start()
        with self.qvmd.client() as client:
            number = client.request("guest.stop", name="a", timeout_ms=60000, request_id="r")
            self.qvmd.call("guest.kill", name="a")
            self.assertEqual(client.answer(number)["guest"]["state"], "stopped")

    def test_after_a_day_a_call_is_forgotten(self):
        self.qvmd.call("guest.start", name="a", definition=bare("a"), request_id="r")
        self.qvmd.call("guest.kill", name="a")
        self.qvmd.crash()
        self.qvmd.forge("UPDATE request SET begun = begun - 86401000000000")
        self.qvmd.start()
        self.qvmd.call("guest.start", name="a", definition=bare("a"), request_id="r")
        self.assertEqual(self.starts(), [1, 2])


class CrashTest(QvmdTest):
    """qvmd is killed at each of its steps, and the call is repeated."""

    crashing = True

    def tearDown(self):
        self.assert_invariants()

    def events(self, *states):
        """Of states that were come to, and of other things."""
        return [event for event in self.qvmd.events()
                if (event["state"] if event["what"] == "state" else event["what"]) in states]

    def at_every_point(self, prepare, call, check):
        """`call` is made until it is answered; `check(outcome)`: it was done once."""
        points = 1
        number = 0
        while number < points:
            prepare()
            self.qvmd.arm(number)
            try:
                outcome = call(str(number))
                self.qvmd.call("host.info")  # what follows the answer is done by then
            except (OSError, EOFError):
                outcome = None
            passed = self.qvmd.disarm()
            points = max(points, len(passed) + 1) if number == 0 else points
            with self.subTest(f"killed at point {number} of {points - 1}: "
                              f"{passed[-1] if passed else None}"):
                if 0 < number <= len(passed):
                    self.qvmd.process.wait(20)
                    self.qvmd.start()
                    outcome = call(str(number))
                check(outcome)
            number += 1
        self.assertGreater(points, 2)

    def settle(self):
        if "a" in self.qvmd.guests():
            self.qvmd.call("guest.kill", name="a")
            self.eventually(lambda: not self.qvmd.directories() and
                            not self.qvmd.call("guest.show", name="a")["claims"], "it holds on")

    def test_a_start_is_done_once(self):
        before = []

        def prepare():
            self.settle()
            before[:] = [len(self.events("running"))]

        def call(number):
            return self.qvmd.call("guest.start", name="a", definition=bare("a"),
                                  request_id="s" + number)

        def check(outcome):
            self.assertEqual(outcome["guest"]["name"], "a")
            self.assertEqual(len(self.events("running")) - before[0], 1)
            self.assertEqual(self.qvmd.wait("a", "running")["state"], "running")

        # A start that dies with qvmd before the guest runs has failed; nothing is begun twice.
        def call_or_failed(number):
            try:
                return call(number)
            except Refused as refused:
                self.assertEqual(refused.name, "guest-failed")
                return refused

        def check_either(outcome):
            if isinstance(outcome, Refused):
                self.assertEqual(len(self.events("running")) - before[0], 0)
                self.assertEqual(self.qvmd.guest("a")["state"], "failed")
            else:
                check(outcome)

        self.at_every_point(prepare, call_or_failed, check_either)

    def test_a_stop_is_done_once(self):
        before = []

        def prepare():
            self.settle()
            self.start("a")
            self.assert_console("a", "> ")
            before[:] = [len(self.events("stopped"))]

        def check(outcome):
            self.assertEqual(outcome["guest"]["state"], "stopped")
            self.assertEqual(len(self.events("stopped")) - before[0], 1)

        self.at_every_point(prepare, lambda number: self.qvmd.call(
            "guest.stop", name="a", timeout_ms=20000, request_id="e" + number), check)

    def test_a_set_is_done_once(self):
        before = []
        self.qvmd.call("guest.define", name="a", definition=bare("a"))

        def prepare():
            # a step that is not counted, so that the count begins anew with the next
            self.qvmd.call("guest.set", name="a", values=[{"name": "enabled", "value": "no"}])
            before[:] = [len(self.events("settings"))]

        self.at_every_point(prepare, lambda number: self.qvmd.call(
            "guest.set", name="a", request_id="x" + number,
            values=[{"name": "give-up", "value": number}]),
            lambda _: self.assertEqual(len(self.events("settings")) - before[0], 1))


if __name__ == "__main__":
    main()
