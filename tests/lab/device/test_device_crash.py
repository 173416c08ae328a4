#!/usr/bin/python3
"""qvmd is killed at each of its durable steps while a device of the host goes to a guest, and while
it comes back: afterwards it has one owner, or is home. In the lab."""

import sys
import unittest

import test_device
from crashtest import Crash, CrashBase
from test_device import CARD, Devices, definition


class DeviceCrashTest(Devices, CrashBase):
    settings = (*CrashBase.settings, *test_device.POOL)

    def settle(self, name):
        """As everywhere, but a device takes its time, most in the lab."""
        self.eventually(lambda: not self.call("guest.show", name=name).get("claims"),
                        "it holds on", 30)
        super().settle(name)

    def borrow_it(self):
        try:
            return self.call("guest.start", name="a", definition=definition("device:card"))
        except Crash:
            return None

    def end_it(self):
        try:
            return self.call("guest.kill", name="a")
        except Crash:
            return None

    def test_a_device_goes_to_its_guest_or_stays_home(self):
        def check(result):
            if result is not None:
                self.assertEqual(self.held(), [CARD])
            self.put_to_rest()
            self.assert_home(CARD)

        self.at_every_point(self.forget, self.borrow_it, check)

    def test_a_device_comes_home(self):
        def prepare():
            self.forget()
            self.borrow("a", "card")

        def act():
            result = self.end_it()
            self.settle("a")
            return result

        def check(_):
            self.put_to_rest()  # before the wish is written, it runs on
            self.assert_home(CARD)

        self.at_every_point(prepare, act, check)


if __name__ == "__main__":
    test_device.prepare()
    unittest.main()
