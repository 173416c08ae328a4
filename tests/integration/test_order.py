#!/usr/bin/env python3
"""Enabled guests start in their order, over the end of qvmd as well."""

import time

from ordertest import OrderTest
from qvmtest import Refused, bare, main


class StartsTest(OrderTest):
    def test_enabled_guests_start_in_their_order_and_others_do_not(self):
        self.chain()
        self.define("other", enabled="no")
        outcomes = self.start_enabled()
        self.assertEqual([one["guest"]["state"] for one in outcomes.values()], ["running"] * 3)
        self.assertEqual(list(outcomes), ["x-web", "y-db", "z-net"])
        self.assertEqual(self.moves("starting", "running"),
                         ["z-net", "z-net", "y-db", "y-db", "x-web", "x-web"])
        self.assertEqual(self.qvmd.guest("other")["state"], "defined")
        again = self.start_enabled()
        self.assertEqual({one["note"] for one in again.values()}, {"it was running already"})

    def test_starts_are_staggered_and_a_delay_is_kept(self):
        for name in "abc":
            self.define(name)
        self.define("d", after="a", delay="300ms")
        begin = time.monotonic()
        self.start_enabled()
        self.assertGreater(time.monotonic() - begin, 0.3)
        started = {name: guest["started"] for name, guest in self.qvmd.guests().items()}
        self.assertEqual(sorted(started, key=started.get), ["a", "b", "c", "d"])
        at = [float(started[name][17:23]) for name in "abc"]
        self.assertGreaterEqual(round((at[1] - at[0]) % 60, 3), 0.019)
        self.assertGreaterEqual(round((at[2] - at[1]) % 60, 3), 0.019)

    def test_who_comes_after_a_guest_that_failed_is_not_started_and_says_why(self):
        self.define("net")
        self.qvmd.call("guest.define", name="db",
                       definition=bare("db", more="vdev nothing\n"))
        self.set("db", enabled="yes", after="net")
        self.define("web", after="db")
        self.define("top", after="web")
        outcomes = self.start_enabled()
        self.assertEqual({name: one.get("error") for name, one in outcomes.items()},
                         {"net": None, "db": "config-error", "web": "cancelled",
                          "top": "cancelled"})
        self.assertRegex(outcomes["web"]["message"],
                         r"^guest 'db', after which it comes, does not run: db\.qvmconf:")
        self.assertEqual(self.states(), {"net": "running", "db": "failed", "web": "defined",
                                         "top": "defined"})

    def test_names_that_are_no_more_or_do_not_run_are_told_at_the_start(self):
        self.define("db")
        self.define("web", after="db")
        self.define("top", after="db")
        self.set("db", enabled="no")
        outcomes = self.start_enabled()
        self.assertEqual(outcomes["web"]["message"],
                         "guest 'db', after which it comes, does not run: it is not enabled")
        self.qvmd.call("guest.undefine", name="db")
        outcomes = self.start_enabled()
        self.assertEqual(outcomes["web"]["message"],
                         "guest 'db', after which it comes, is not defined")
        self.define("db")
        self.assertNotIn("error", self.start_enabled()["web"])

    def test_a_ring_is_refused_when_it_is_set_and_told_if_it_is_there_all_the_same(self):
        self.chain()
        with self.assertRaises(Refused) as caught:
            self.set("z-net", after="x-web")
        self.assertIn("guest 'z-net' would come after itself", caught.exception.message)
        self.qvmd.crash()
        self.qvmd.forge("UPDATE guest SET settings = replace(settings, '\"after\":[]',"
                        " '\"after\":[\"x-web\"]') WHERE name = 'z-net'")
        self.qvmd.start()
        outcomes = self.start_enabled()
        self.assertEqual({one["error"] for one in outcomes.values()}, {"invalid-params"})
        for name in ("x-web", "y-db", "z-net"):
            self.qvmd.call("guest.start", name=name)
        self.prompt("x-web", "y-db", "z-net")
        outcomes = self.drain()
        self.assertEqual({one.get("error") for one in outcomes.values()}, {None})
        self.assertEqual(set(self.states().values()), {"stopped"})

    def test_when_the_time_is_over_who_asked_is_answered_and_it_goes_on(self):
        self.define("a")
        self.define("b", after="a", delay="3s")
        outcomes = self.start_enabled(timeout_ms=1500)
        self.assertEqual(outcomes["b"]["error"], "timeout")
        self.assertNotIn("error", outcomes["a"])
        self.qvmd.wait("b", "running")

    def test_qvmd_ends_in_the_middle_of_the_starts(self):
        self.define("a")
        self.define("b", after="a", delay="1h")
        with self.qvmd.client() as client:
            number = client.request("host.start_enabled")
            self.qvmd.wait("a", "running")
            self.assertEqual(self.qvmd.stop(), 0)
            try:
                answer = {one["name"]: one.get("error")
                          for one in client.answer(number)["outcomes"]}
                self.assertEqual(answer, {"a": None, "b": "cancelled"})
            except (EOFError, ConnectionError):
                pass
        self.qvmd.start()

    def begin_starts(self):
        """a runs, and b waits for its turn."""
        self.define("a")
        self.define("b", after="a", delay="700ms")
        client = self.enterContext(self.qvmd.client())
        number = client.request("host.start_enabled")
        self.qvmd.wait("a", "running")
        return client, number

    def turns(self):
        return [name for (name,) in self.qvmd.rows("SELECT guest FROM turn ORDER BY guest")]

    def test_a_new_qvmd_goes_on_with_the_starts(self):
        self.begin_starts()
        pid = self.qvmd.guest("a")["pid"]
        self.assertEqual(self.turns(), ["b"])
        self.qvmd.crash()
        self.qvmd.start()
        self.qvmd.wait("b", "running", 15000)
        self.assertEqual(self.qvmd.guest("a")["pid"], pid)
        self.eventually(lambda: self.turns() == [], "turns are left")

    def test_who_repeats_the_call_waits_with_the_starts_that_go_on(self):
        self.define("a")
        self.define("b", after="a", delay="700ms")
        client = self.enterContext(self.qvmd.client())
        client.request("host.start_enabled", request_id="boot")
        self.qvmd.wait("a", "running")
        self.qvmd.crash()
        self.qvmd.start()
        outcomes = self.start_enabled(request_id="boot")
        self.assertIn("b", outcomes)
        self.assertEqual([one.get("error") for one in outcomes.values() if "error" in one], [])
        self.assertEqual(self.states(), {"a": "running", "b": "running"})

    def test_who_repeats_the_call_after_its_end_starts_nothing_again(self):
        self.define("a")
        self.define("b", after="a", delay="300ms")
        client = self.enterContext(self.qvmd.client())
        client.request("host.start_enabled", request_id="boot")
        self.qvmd.wait("a", "running")
        self.qvmd.crash()
        self.qvmd.start()
        self.qvmd.wait("b", "running", 15000)
        self.eventually(lambda: self.turns() == [], "turns are left")
        self.qvmd.call("guest.kill", name="a")
        outcomes = self.start_enabled(request_id="boot")
        self.assertEqual({name: one.get("message") for name, one in outcomes.items()},
                         {"a": "guest 'a' is stopped", "b": None})

    def test_who_is_stopped_before_its_turn_is_not_started_by_the_next_qvmd_either(self):
        client, number = self.begin_starts()
        self.qvmd.call("guest.stop", name="b")
        answer = {one["name"]: one.get("error") for one in client.answer(number)["outcomes"]}
        self.assertEqual(answer, {"a": None, "b": "cancelled"})
        self.qvmd.crash()
        self.qvmd.start()
        self.qvmd.wait("a", "running", 15000)
        self.assertEqual(self.turns(), [])
        self.assertEqual(self.states()["b"], "defined")

    def test_a_drain_ends_the_starts_for_good(self):
        client, number = self.begin_starts()
        self.prompt("a")
        self.drain()
        answer = {one["name"]: one.get("error") for one in client.answer(number)["outcomes"]}
        self.assertEqual(answer["b"], "draining")
        self.assertEqual(self.turns(), [])
        self.drain(end=True)
        self.qvmd.restart()
        self.assertEqual(self.states(), {"a": "stopped", "b": "defined"})

    def test_after_a_boot_nobody_goes_on_with_starts_of_the_one_before(self):
        self.begin_starts()
        self.qvmd.crash()
        self.qvmd.forge("UPDATE turn SET boot_id = '11111111-2222-3333-4444-555555555555'")
        self.qvmd.start()
        self.assertEqual(self.turns(), [])
        self.assertEqual(self.states()["b"], "defined")


if __name__ == "__main__":
    main()
