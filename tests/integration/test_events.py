#!/usr/bin/env python3
"""Events: kept, replayed without a gap, filtered; also when qvmd is killed in the middle of it."""

import json
import os
import subprocess
import threading
import time

from qvmtest import BUILD, QvmdTest, main

QVMCTL = os.path.join(BUILD, "cli", "qvmctl")
KEPT = 10000


class Follower(threading.Thread):
    """A subscriber that is thrown out again and again, and goes on from the last number it saw."""

    def __init__(self, qvmd):
        super().__init__(daemon=True)
        self.qvmd = qvmd
        self.seen = []
        self.times = 0
        self.until = None  # seq after which it may end

    def is_done(self):
        return self.until is not None and bool(self.seen) and self.seen[-1]["seq"] >= self.until

    def session(self, most):
        with self.qvmd.client(timeout=1) as client:
            since = self.seen[-1]["seq"] if self.seen else 0
            self.seen += client.call("events.subscribe", since=since)["events"]
            self.times += 1
            for _ in range(most):
                while not client.events:
                    line = client.line()
                    if line is None:
                        return
                    client.events.append(line["params"])
                self.seen.append(client.events.pop(0))
                if self.is_done():
                    return

    def run(self):
        while not self.is_done():
            try:
                self.session(self.times % 5)
            except (OSError, EOFError):
                time.sleep(0.01)


class EventsTest(QvmdTest):
    def make_noise(self, count):
        """Events that need no process."""
        with self.qvmd.client() as client:
            for i in range(count):
                client.call("guest.define", name="noise", definition={
                    "words": [f"ram {1 + i}M"]})

    def test_who_reconnects_gets_everything_once_while_qvmd_is_killed(self):
        followers = [Follower(self.qvmd) for _ in range(4)]
        for one in followers:
            one.start()
        for turn in range(5):
            self.start(f"g{turn}")
            self.make_noise(40)
            self.qvmd.call("guest.kill", name=f"g{turn}")
            self.make_noise(10)
            self.qvmd.crash()
            self.qvmd.start()
        last = self.qvmd.call("events.list", limit=1)["last"]
        for one in followers:
            one.until = last
        self.make_noise(1)
        for one in followers:
            one.join(20)
            self.assertFalse(one.is_alive(), "a follower never heard the last event")
            numbers = [event["seq"] for event in one.seen]
            self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
            self.assertGreater(one.times, 5)

    def test_filters_hold_together_for_what_was_and_for_what_comes(self):
        self.start("a")
        self.start("b")
        with self.qvmd.client() as client:
            wanted = {"guest": "a", "what": "state", "reason": "killed"}
            self.assertEqual(client.call("events.subscribe", **wanted)["events"], [])
            for name in ("b", "a"):
                self.qvmd.call("guest.kill", name=name)
            event = client.line()["params"]
            self.assertEqual((event["guest"], event["what"], event["state"], event["reason"]),
                             ("a", "state", "stopped", "killed"))
        found = self.qvmd.events(**wanted)
        self.assertEqual([one["seq"] for one in found], [event["seq"]])
        running = self.qvmd.events(state="running")
        self.assertEqual([one["guest"] for one in running], ["a", "b"])

    def test_a_word_that_is_in_no_event_is_refused(self):
        for member, kind, some in (("state", "state", "defined, starting, running"),
                                   ("reason", "reason", "poweroff, reboot, guest-crash"),
                                   ("what", "kind of event", "state, defined, undefined")):
            for method in ("events.list", "events.subscribe"):
                self.assertIn(f"{member}: there is no {kind} 'rnning'; there are {some}, ",
                              self.refused("invalid-params", method, **{member: "rnning"}))

    def test_who_comes_too_late_is_told_how_many_are_gone(self):
        self.qvmd.stop()
        self.qvmd.forge("WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n"
                        " WHERE i < 10 + ?1) INSERT INTO event(seq, time, what) SELECT"
                        " i, '2026-01-01T00:00:00.000Z', 'state' FROM n", KEPT)
        self.qvmd.start()
        answer = self.qvmd.call("events.list", since=5)
        self.assertEqual(len(answer["events"]), KEPT)
        self.assertEqual(answer["oldest"], answer["last"] - KEPT + 1)
        self.assertEqual(answer["missing"], answer["oldest"] - 6)
        self.assertNotIn("missing", self.qvmd.call("events.list", since=answer["oldest"] - 1))
        self.assertNotIn("missing", self.qvmd.call("events.list"))

    # ---- qvmctl ----

    def follow(self, *words):
        child = subprocess.Popen([QVMCTL, "--socket", self.qvmd.socket, "events", "-f", "-o",
                                  "jsonl", *words], text=True, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE)
        self.addCleanup(child.communicate)
        self.addCleanup(child.kill)
        return child

    def test_follow_goes_on_across_a_killed_qvmd(self):
        child = self.follow("--timeout", "60")
        numbers = [json.loads(child.stdout.readline())["seq"]]
        for _ in range(3):
            self.qvmd.crash()
            self.qvmd.start()
            self.make_noise(3)
            last = self.qvmd.call("events.list", limit=1)["last"]
            while numbers[-1] < last:
                numbers.append(json.loads(child.stdout.readline())["seq"])
        self.assertEqual(numbers, list(range(1, last + 1)))

    def test_follow_with_a_time_ends_with_status_7_although_qvmd_is_gone(self):
        child = self.follow("--timeout", "1")
        child.stdout.readline()
        self.qvmd.crash()
        self.assertIn("the time is over", child.communicate(timeout=20)[1])
        self.assertEqual(child.returncode, 7)
        self.qvmd.start()

    def test_follow_notices_numbers_that_began_anew(self):
        self.make_noise(5)
        child = self.follow("--timeout", "60")
        for _ in range(6):
            child.stdout.readline()
        self.qvmd.crash()
        for end in ("", "-wal", "-shm"):
            if os.path.exists(self.qvmd.store + end):
                os.unlink(self.qvmd.store + end)
        self.qvmd.start()
        self.assertEqual(json.loads(child.stdout.readline())["seq"], 1)
        child.kill()
        self.assertIn("numbers go on behind event 1", child.communicate()[1])


if __name__ == "__main__":
    main()
