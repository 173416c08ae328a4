#!/usr/bin/env python3
"""A drain stops all guests in the reverse of their order, over the end of qvmd as well."""

import os
import subprocess
import threading
import time

from ordertest import OrderTest
from qvmtest import BUILD, Refused, bare, main

QVMCTL = os.path.join(BUILD, "cli", "qvmctl")


class DrainTest(OrderTest):
    def test_a_drain_stops_in_the_reverse_order_and_says_why(self):
        self.chain()
        self.start_enabled()
        self.prompt("x-web", "y-db", "z-net")
        outcomes = self.drain()
        self.assertEqual({name: (one["guest"]["state"], one["guest"]["reason"])
                          for name, one in outcomes.items()},
                         {name: ("stopped", "drain") for name in ("x-web", "y-db", "z-net")})
        self.assertEqual(self.moves("stopping", "stopped"),
                         ["x-web", "x-web", "y-db", "y-db", "z-net", "z-net"])

    def test_in_a_drain_nothing_is_started_until_it_is_ended(self):
        self.define("a")
        self.qvmd.call("guest.start", name="a")
        self.prompt("a")
        self.drain(reason="host-shutdown")
        self.assertEqual(self.qvmd.guest("a")["reason"], "host-shutdown")
        drain = self.qvmd.call("host.info")["drain"]
        self.assertEqual((drain["reason"], drain.get("left", 0)), ("host-shutdown", 0))
        for method, params in (("guest.start", {"name": "a"}), ("host.start_enabled", {}),
                               ("guest.start", {"name": "b", "definition": bare("b")})):
            message = self.refused("draining", method, **params)
            self.assertIn("qvmctl drain --end", message)
        self.assertNotIn("b", self.qvmd.guests())
        self.qvmd.restart()
        self.refused("draining", "guest.start", name="a")
        self.assertEqual(self.drain(end=True), {})
        self.assertNotIn("drain", self.qvmd.call("host.info"))
        self.assertEqual(list(self.start_enabled()), ["a"])
        told = [event["what"] for event in self.qvmd.events()]
        self.assertEqual((told.count("drain"), told.count("drain-end")), (1, 1))

    def test_a_guest_that_does_not_obey_is_left_with_all_that_it_comes_after(self):
        self.define("net")
        self.define("db", run="hang", after="net", **{"stop-timeout": "300ms"})
        self.start_enabled()
        self.prompt("net")
        self.assert_console("db", "deaf")
        outcomes = self.drain()
        self.assertEqual({name: one["error"] for name, one in outcomes.items()},
                         {"db": "timeout", "net": "busy"})
        self.assertEqual(outcomes["net"]["message"],
                         "it was not stopped: guest 'db', which comes after it, is stopping")
        self.assertEqual(self.states(), {"net": "running", "db": "stopping"})
        outcomes = self.drain(kill=True)
        self.assertEqual({one.get("error") for one in outcomes.values()}, {None})
        self.assertEqual(set(self.states().values()), {"stopped"})

    def test_when_all_the_time_is_over_what_is_left_is_killed_if_that_was_asked_for(self):
        self.define("net", run="hang")
        self.define("db", run="hang", after="net")
        self.start_enabled()
        self.assert_console("net", "deaf")
        self.assert_console("db", "deaf")
        begin = time.monotonic()
        outcomes = self.drain(kill=True, timeout_ms=400)
        self.assertGreater(time.monotonic() - begin, 0.39)
        self.assertEqual({one["guest"]["state"] for one in outcomes.values()}, {"stopped"})

    def test_when_all_the_time_is_over_without_force_it_is_told_who_is_left(self):
        self.define("net", run="hang")
        self.define("db", run="hang", after="net")
        self.start_enabled()
        self.assert_console("db", "deaf")
        outcomes = self.drain(timeout_ms=300)
        self.assertEqual(outcomes["db"]["error"], "timeout")
        self.assertIn(outcomes["net"]["error"], ("timeout", "busy"))
        self.drain(kill=True, timeout_ms=100)

    def test_who_drains_during_a_drain_waits_with_the_first_and_brings_force(self):
        self.define("a", run="hang", **{"stop-timeout": "500ms"})
        self.start_enabled()
        self.assert_console("a", "deaf")
        with self.qvmd.client() as one, self.qvmd.client() as other:
            first = one.request("host.drain")
            self.qvmd.wait("a", "stopping")
            self.assertEqual(self.qvmd.call("host.info")["drain"]["left"], 1)
            second = other.request("host.drain", kill=True)
            for client, number in ((one, first), (other, second)):
                outcome = client.answer(number)["outcomes"][0]
                self.assertEqual((outcome["guest"]["state"], outcome.get("error")),
                                 ("stopped", None))

    def test_a_drain_that_is_ended_in_the_middle_leaves_those_whose_turn_had_not_come(self):
        self.define("net")
        self.define("db", run="hang", after="net", **{"stop-timeout": "500ms"})
        self.start_enabled()
        self.assert_console("db", "deaf")
        with self.qvmd.client() as client:
            number = client.request("host.drain")
            self.qvmd.wait("db", "stopping")
            self.drain(end=True)
            outcomes = {one["name"]: one["error"] for one in client.answer(number)["outcomes"]}
        self.assertEqual(outcomes, {"db": "timeout", "net": "cancelled"})
        self.assertEqual(self.qvmd.guest("net")["state"], "running")
        self.qvmd.call("guest.kill", name="db")
        self.qvmd.call("guest.start", name="db")

    def test_a_drain_after_one_that_was_ended_stops_those_that_were_left(self):
        self.define("net")
        self.define("db", run="hang", after="net", **{"stop-timeout": "2s"})
        self.start_enabled()
        self.prompt("net")
        self.assert_console("db", "deaf")
        with self.qvmd.client() as client:
            number = client.request("host.drain")
            self.qvmd.wait("db", "stopping")
            self.drain(end=True)
            outcomes = self.drain(kill=True, timeout_ms=100)
            client.answer(number)
        self.assertEqual({name: one.get("error") for name, one in outcomes.items()},
                         {"db": None, "net": None})
        self.assertEqual(self.states(), {"db": "stopped", "net": "stopped"})

    def test_who_drains_without_a_limit_lifts_that_of_the_first(self):
        self.define("net", run="hang", **{"stop-timeout": "1s"})
        self.define("db", run="hang", after="net")
        self.start_enabled()
        self.assert_console("net", "deaf")
        self.assert_console("db", "deaf")
        with self.qvmd.client() as client:
            number = client.request("host.drain", timeout_ms=300)
            self.qvmd.wait("db", "stopping")
            self.drain(kill=True)
            client.answer(number)
        self.assertEqual(set(self.states().values()), {"stopped"})
        at = {event["state"]: float(event["time"][17:23]) for event in self.qvmd.events()
              if event["what"] == "state" and event["guest"] == "net"}
        self.assertGreater((at["stopped"] - at["stopping"]) % 60, 0.99)

    def test_a_new_qvmd_goes_on_with_a_drain(self):
        self.define("net")
        self.define("db", run="hang", after="net")
        self.start_enabled()
        self.prompt("net")
        self.assert_console("db", "deaf")
        with self.qvmd.client() as client:
            client.request("host.drain", kill=True, timeout_ms=600, reason="host-shutdown")
            self.qvmd.wait("db", "stopping")
            self.qvmd.crash()
        self.qvmd.start()
        self.eventually(lambda: set(self.states().values()) == {"stopped"}, "it did not go on")
        self.assertEqual({guest["reason"] for guest in self.qvmd.guests().values()},
                         {"host-shutdown"})
        self.refused("draining", "guest.start", name="net")

    def test_after_a_boot_a_drain_is_over_and_enabled_guests_start(self):
        self.define("a")
        self.define("b", enabled="no")
        for name in "ab":
            self.qvmd.call("guest.start", name=name)
        self.prompt("a", "b")
        self.drain(reason="host-shutdown", kill=True)
        self.qvmd.crash()
        self.qvmd.forge("UPDATE drain SET boot_id = '11111111-2222-3333-4444-555555555555'")
        self.qvmd.start()
        self.assertNotIn("drain", self.qvmd.call("host.info"))
        self.start_enabled()
        self.assertEqual(self.states(), {"a": "running", "b": "stopped"})

    def test_a_boot_without_a_drain_ends_all_and_enabled_guests_start(self):
        for name, enabled in (("a", "yes"), ("b", "no"), ("c", "no")):
            self.define(name, enabled=enabled, restart="always")
            self.qvmd.call("guest.start", name=name)
        self.qvmd.crash()
        self.qvmd.kill_workers()
        self.qvmd.forge("UPDATE instance SET boot_id = '11111111-2222-3333-4444-555555555555'")
        self.qvmd.start()
        self.assertEqual({guest["reason"] for guest in self.qvmd.guests().values()},
                         {"host-shutdown"})
        self.assertEqual(set(self.states().values()), {"stopped"})
        done = self.start_enabled()
        self.assertEqual(self.states(), {"a": "running", "b": "stopped", "c": "stopped"}, done)

    def test_a_drain_cancels_waits_and_no_policy_starts_anything(self):
        self.define("a", run="crash", restart="on-failure")
        self.define("b", run="", restart="always")
        self.start_enabled()
        self.qvmd.wait("a", "backoff")
        self.prompt("b")
        self.drain()
        self.assertEqual(self.states(), {"a": "stopped", "b": "stopped"})

    def test_qvmctl_sets_enables_starts_and_drains(self):
        def qvmctl(*words, status=0):
            done = subprocess.run([QVMCTL, "--socket", self.qvmd.socket, *words], check=False,
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, status, done.stderr)
            return done.stdout + done.stderr

        for name in ("db", "web"):
            self.qvmd.call("guest.define", name=name, definition=bare(name))
        qvmctl("enable", "db")
        self.assertEqual(qvmctl("enable", "--after", "db", "--delay", "10ms", "web"),
                         "web: enabled\n")
        self.assertIn("would come after itself", qvmctl("set", "db", "after=web", status=2))
        self.assertEqual(self.qvmd.call("guest.show", name="web")["settings"]["delay_ms"], 10)
        self.assertRegex(qvmctl("show", "web"),
                         r"settings\nenabled +yes\nafter +db\nrestart +no\n")
        said = qvmctl("start", "--enabled")
        self.assertRegex(said, r"db: running, pid \d+\nweb: running, pid \d+\n")
        self.prompt("db", "web")
        self.assertEqual(qvmctl("drain", "--host-shutdown", "--timeout", "20"),
                         "db: stopped (host-shutdown)\nweb: stopped (host-shutdown)\n")
        self.assertRegex(qvmctl("info"), r"drain +since .* \(host-shutdown\), 0 guests left")
        self.assertIn("qvmctl drain --end", qvmctl("start", "--enabled", status=1))
        self.assertEqual(qvmctl("drain", "--end"), "")
        qvmctl("set", "db", "stop-timeout=200ms")
        self.qvmd.call("guest.start", name="db", definition=bare("db", run="hang"))
        self.qvmd.call("guest.start", name="web")
        self.assert_console("db", "deaf")
        self.prompt("web")
        self.assertEqual(qvmctl("drain", status=9),
                         "web: stopped (drain)\nqvmctl: db: guest 'db' is still stopping; "
                         "`qvmctl kill db` ends it by force\n")
        self.assertEqual(qvmctl("-o", "name", "drain", "--kill"), "db\n")
        qvmctl("drain", "--end")
        qvmctl("disable", "db", "web")
        self.assertEqual(qvmctl("start", "--enabled"), "")

    def test_an_operator_may_not_drain_the_host(self):
        # nobody's uid is not in a group, so that it is refused for less than that
        def as_nobody():
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)

        if os.getuid() != 0:
            self.skipTest("needs root to become somebody else")
        read_fd, write_fd = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                as_nobody()
                self.qvmd.call("host.drain")
                os.write(write_fd, b"done")
            except Exception as error:  # pylint: disable=broad-except
                os.write(write_fd, type(error).__name__.encode())
            os._exit(0)
        os.close(write_fd)
        os.waitpid(pid, 0)
        with os.fdopen(read_fd) as said:
            self.assertIn(said.read(), ("PermissionError", "Refused"))
        self.assertNotIn("drain", self.qvmd.call("host.info"))

    def test_starts_and_drains_leave_nothing_behind(self):
        for name in "abc":
            self.define(name)
        self.start_enabled()
        self.drain(kill=True, timeout_ms=50)
        self.drain(end=True)
        self.eventually(lambda: not self.qvmd.workers(), "they live")
        before = self.measure()
        for _ in range(10):
            threads = [threading.Thread(target=self.start_enabled) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.drain(kill=True, timeout_ms=20)
            self.drain(end=True)
        self.assert_returns_to(before)


if __name__ == "__main__":
    main()
