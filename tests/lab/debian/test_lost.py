#!/usr/bin/python3
"""The signs by which a lost guest is told from one that qvm failed. Needs no lab."""

import os
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import lost  # noqa: E402: only after the line above

RAM = 256 << 20
SHUT_DOWN = ("triple fault on vCPU 1: rip=0xfff0 rsp=0x0 rflags=0x2 rax=0x0 rbx=0x0 rcx=0x0 "
             "rdx=0x800f12 rsi=0x0 rdi=0x0 rbp=0x0 cs=0xf000 cr0=0x10 cr2=0x0 cr3=0x0 cr4=0x0 "
             "efer=0x0")


def vcpu(cr3):
    registers = f"rip=0xffffffffc045d20c rsp=0xffffc9000061bb70 cs=0x10 cr3={cr3:#x} efer=0xd01"
    return [{"name": "machine", "values": [{"name": "vcpu1.registers", "value": registers}]}]


class LostTest(unittest.TestCase):
    def test_a_page_table_behind_the_ram_is_none_of_the_guest(self):
        self.assertIn("vcpu1", lost.sign({"memory": RAM}, vcpu(0x100a88000)))
        self.assertIn("vcpu1", lost.sign({"memory": RAM}, vcpu(RAM)))
        self.assertIsNone(lost.sign({"memory": RAM}, vcpu(RAM - 4096)))

    def test_a_vcpu_that_was_shut_down_and_reset_tells_nothing_else(self):
        self.assertEqual(lost.sign({"memory": RAM, "message": SHUT_DOWN}, None), SHUT_DOWN)

    def test_other_ends_are_the_guest_s_or_ours(self):
        for message in (SHUT_DOWN.replace("rip=0xfff0", "rip=0x100000"), "",
                        SHUT_DOWN.replace("cr3=0x0 cr4=0x0 efer=0x0", "cr3=0x1000 efer=0xd01"),
                        "KVM: internal error on vCPU 0"):
            self.assertIsNone(lost.sign({"memory": RAM, "message": message}, None), message)
        self.assertIsNone(lost.sign({"memory": RAM}, [{"name": "ser8250", "values": []}]))


if __name__ == "__main__":
    unittest.main()
