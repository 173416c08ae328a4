#!/usr/bin/env python3
"""Fifty guests at once, ten rounds: none is lost, nothing is left."""

import time

from qvmtest import QvmdTest, bare, main

GUESTS, ROUNDS = 50, 10


class ManyTest(QvmdTest):
    def call_all(self, method, **params):
        """The call for each guest, all at once on one connection; the guests afterwards."""
        with self.qvmd.client() as client:
            numbers = [client.request(method, name=name, **params) for name in self.names]
            lines = [client.line() for _ in numbers]
        for line in lines:
            self.assertIn("result", line)
        return [line["result"]["guest"] for line in lines]

    def test_fifty_guests_start_and_end_at_once_ten_times(self):
        self.names = [f"g{number:02}" for number in range(GUESTS)]
        for name in self.names:
            self.qvmd.call("guest.define", name=name, definition=bare(name, ram="8M"))
        before = self.measure()
        pools = self.qvmd.call("host.info")["pools"]
        for number in range(ROUNDS):
            begin = time.monotonic()
            started = self.call_all("guest.start")
            middle = time.monotonic()
            self.assertEqual(len({guest["pid"] for guest in started}), GUESTS)
            self.assertEqual(len(self.qvmd.workers()), GUESTS)
            self.assert_one_holder()
            if number % 2:
                ended = self.call_all("guest.kill")
            else:
                ended = self.call_all("guest.stop", timeout_ms=500, kill=True)
            self.assertEqual({guest["state"] for guest in ended}, {"stopped"})
            print(f"round {number}: {GUESTS} up in {middle - begin:.2f} s, "
                  f"down in {time.monotonic() - middle:.2f} s", flush=True)
            if number == 5:
                self.qvmd.restart()
            self.assert_returns_to(before)
            self.assertEqual(self.qvmd.call("host.info")["pools"], pools)
        self.assert_invariants()


if __name__ == "__main__":
    main()
