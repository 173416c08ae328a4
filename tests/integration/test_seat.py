#!/usr/bin/env python3
"""What people do at a guest's devices: keys, text, the pointer, sizes of console and balloon."""

import os
import re
import struct

from qvmtest import BUILD, QvmdTest, Refused, main

DEVICES = os.path.join(BUILD, "tests/guests/bare/devices.bzimage")


def vhd_footer(size):
    """Of a fixed VHD: "Hard Disk Footer Format"."""
    footer = bytearray(struct.pack(">8sIIQI4sIIQQII", b"conectix", 2, 0x10000, 2**64 - 1, 0, b"test", 0, 0,
                                   size, size, 0, 2).ljust(512, b"\0"))
    footer[64:68] = struct.pack(">I", ~sum(footer) & 0xffffffff)
    return bytes(footer)


class SeatTest(QvmdTest):
    def tearDown(self):
        self.assert_invariants()

    # ---- keys ----

    def read_keyboard(self, count):
        """What the guest reads from its keyboard controller, byte after byte."""
        start = len(self.qvmd.console("a"))
        for _ in range(count):
            self.qvmd.type("a", "in 60\r")

        def values():  # a line that the guest is still writing is none
            return re.findall(r"port 0x60: (\w+)\r?\n", self.qvmd.console("a")[start:])

        self.eventually(lambda: len(values()) == count, "the guest has not read its keyboard")
        return [int(value, 16) for value in values()]

    def test_keys_are_pressed_in_their_order_and_released_in_the_other(self):
        self.start_and_wait(more="vdev pckeyboard\n")
        done = self.ctl("sendkey", "a", "a", "ctrl-alt-delete")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assertEqual(self.read_keyboard(10),
                         [0x1e, 0x9e, 0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d])

    def test_a_keyboard_that_nobody_reads_is_full_and_then_has_room_again(self):
        self.start_and_wait(more="vdev pckeyboard\n")
        with self.assertRaises(Refused) as refused:
            for _ in range(100):
                self.act("sendkey", keys="a")
        self.assertIn("the keyboard has no room for 'a'", refused.exception.message)
        self.assertEqual(refused.exception.name, "not-read")
        self.assertEqual(self.read_keyboard(4), [0x1e, 0x9e, 0x1e, 0x9e])
        self.act("sendkey", keys="b")

    def test_keys_that_cannot_be_pressed_are_refused_in_words(self):
        self.start_and_wait()
        with self.assertRaises(Refused) as refused:
            self.act("sendkey", keys="a")
        self.assertIn("the guest has no keyboard", refused.exception.message)
        with self.assertRaises(Refused) as refused:
            self.act("point", x=1, y=1)
        self.assertIn("the guest has no pointer", refused.exception.message)
        with self.assertRaises(Refused) as refused:
            self.act("sendkey", keys="ctrl-bogus")
        self.assertIn("'bogus' of 'ctrl-bogus' is no key", refused.exception.message)
        self.act("pause")
        with self.assertRaises(Refused) as refused:
            self.act("sendkey", keys="a")
        self.assertEqual(refused.exception.name, "wrong-state")

    def test_a_break_reaches_the_serial_line_of_the_console(self):
        self.start_and_wait()
        done = self.ctl("sendbreak", "a")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assertRegex(self.ctl("show", "--vdevs", "a").stdout, r"\nbreaks +1\n")

    def test_what_nobody_reads_is_not_typed_and_the_wrong_is_told_before(self):
        self.start_and_wait(more="vdev virtio-input\n")
        done = self.ctl("type", "--timeout", "0.2", "a", "Ab")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("0 of 2 characters were typed: the keyboard has no room for 'shift-a'",
                      done.stderr)
        for words in (["type", "a", "a\u00e9"], ["point", "a", "101", "0"],
                      ["point", "a", "1", "x"], ["point", "a", "1", "1", "mouseup"]):
            done = self.ctl(*words)
            self.assertEqual(done.returncode, 2, (words, done.stderr))
        done = self.ctl("point", "a", "50", "50")
        self.assertIn("the guest does not read from it", done.stderr)

    def test_text_is_typed_with_shift_where_a_us_keyboard_wants_it(self):
        self.start_and_wait(more="vdev pckeyboard\n")
        self.assertEqual(self.ctl("type", "a", "aB!").returncode, 0)
        self.assertEqual(self.read_keyboard(10), [0x1e, 0x9e, 0x2a, 0x30, 0xb0, 0xaa, 0x2a, 0x02,
                                                  0x82, 0xaa])
        refused = self.ctl("sendkey", "a", "mouseleft")
        self.assertIn("no pointer for a button", refused.stderr)

    def test_the_guest_is_told_the_size_of_its_console_if_that_has_one(self):
        def resize(name, **size):
            return self.qvmd.call("console.size", name=name, **size)
        self.start_and_wait()
        self.assertIn("its console has no size", resize("a", columns=80, rows=24)["note"])
        self.start("b", more="vdev virtio-console hostdev -\n")
        self.assertNotIn("note", resize("b", columns=80, rows=24))
        self.assertRegex(self.ctl("show", "--vdevs", "b").stdout, r"\nsize +80x24\n")
        with self.assertRaises(Refused) as refused:
            resize("b", columns=0, rows=24)
        self.assertEqual(refused.exception.name, "invalid-params")

    def test_a_balloon_waits_for_its_driver_and_is_no_larger_than_the_guest(self):
        self.start_and_wait(more="vdev virtio-balloon\n")
        done = self.ctl("balloon", "a", "1M")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertIn("the guest's driver is not there yet", done.stderr)
        self.assertRegex(self.ctl("show", "--vdevs", "a").stdout, r"\nwanted +1048576\n")
        done = self.ctl("balloon", "a", "1G")
        self.assertEqual(done.returncode, 2)
        self.assertIn("the guest has less memory than that", done.stderr)
        self.assertEqual(self.ctl("balloon", "a", "much").returncode, 2)
        self.assertRegex(self.ctl("show", "--vdevs", "a").stdout, r"\nwanted +1048576\n")
        self.act("pause")
        with self.assertRaises(Refused) as refused:
            self.act("balloon", size=0)
        self.assertEqual(refused.exception.name, "wrong-state")

    def test_a_disk_grows_under_its_guest_and_never_becomes_smaller(self):
        image = os.path.join(self.qvmd.top, "grows.img")
        with open(image, "wb") as file:
            file.truncate(1 << 20)
        self.start("a", image=DEVICES, run="blk_feb00000_16_grow",
                   more=f"vdev virtio-blk loc mem:feb00000,512 intr ioapic:16 hostdev {image}\n")
        self.assert_console("a", "blk: waits with 2048 sectors")
        done = self.ctl("resize", "a", "virtio-blk")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertIn("disk 'virtio-blk' has 1048576 bytes, as before", done.stderr)
        os.truncate(image, 1 << 19)
        done = self.ctl("resize", "a", "virtio-blk")
        self.assertEqual(done.returncode, 2)
        self.assertIn(f"'{image}' has 524288 bytes, and the guest knows a disk of 1048576", done.stderr)
        os.truncate(image, 3 << 20)
        done = self.ctl("resize", "a", "virtio-blk")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("disk 'virtio-blk' has 3145728 bytes now", done.stderr)
        self.assert_console("a", "blk: grew to 6144 sectors, the last one: status 0")
        with open(image, "rb") as file:
            file.seek(-512, os.SEEK_END)
            self.assertEqual(file.read(), bytes(i % 256 for i in range(512)))

    def test_what_is_no_disk_that_can_grow_is_refused_in_words(self):
        image = os.path.join(self.qvmd.top, "d.vhd")
        with open(image, "wb") as file:
            file.write(bytes(1 << 20) + vhd_footer(1 << 20))
        self.start_and_wait(more=f"vdev virtio-blk name d hostdev {image}\nvdev virtio-entropy\n")
        for vdev, words in (("d", "only a raw image can grow"), ("virtio-entropy", "is no disk"),
                            ("nobody", "has no vdev 'nobody'")):
            with self.assertRaises(Refused) as refused:
                self.act("resize", vdev=vdev)
            self.assertIn(words, refused.exception.message)

    def test_a_guest_without_a_balloon_is_refused_in_words(self):
        self.start_and_wait()
        with self.assertRaises(Refused) as refused:
            self.act("balloon", size=4096)
        self.assertEqual(refused.exception.name, "unsupported")
        self.assertIn("its configuration wants 'vdev virtio-balloon'", refused.exception.message)


if __name__ == "__main__":
    main()
