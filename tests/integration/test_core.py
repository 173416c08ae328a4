#!/usr/bin/env python3
"""What becomes of a qvm that crashes, where the kernel gives cores to a handler. core_pattern is the
whole machine's: only the lab may change it."""

import os
import re
import signal
import struct
import tempfile

from qvmtest import QVM, main
from test_confined import THREADS, ConfinedBase

PATTERN = "/proc/sys/kernel/core_pattern"
CRASH = 254  # of vdev-attempt: it accesses what is not there
ET_CORE, PT_LOAD = 4, 1


def segments(core):
    """(address, size in memory, size in the file) of what an ELF core was made of."""
    kind, = struct.unpack_from("<16xH", core)
    offset, size, count = struct.unpack_from("<32xQ14xHH", core)
    headers = [struct.unpack_from("<I12xQ8xQQ", core, offset + i * size) for i in range(count)]
    assert core[:4] == b"\x7fELF" and kind == ET_CORE, core[:32]
    return [(address, memory, file) for what, address, file, memory in headers if what == PT_LOAD]


def ram_of(pid):
    """Where its guest's RAM is mapped: [(begin, end)]."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
        return [(int(begin, 16), int(end, 16)) for begin, end in
                re.findall(r"(?m)^(\w+)-(\w+) .*/memfd:\S*ram", file.read())]


class HandlerBase(ConfinedBase):
    worker = QVM

    def setUp(self):
        if "LAB" not in os.environ:
            self.skipTest("the handler of cores is the whole machine's")
        self.cores = tempfile.mkdtemp(prefix="qvm-cores-")
        handler = os.path.join(self.cores, "handler")
        with open(handler, "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\ncat >{self.cores}/part && '
                       f'mv {self.cores}/part "{self.cores}/core.$1.$2"\n')
        os.chmod(handler, 0o755)
        with open(PATTERN, encoding="utf-8") as file:
            self.addCleanup(self.set_pattern, file.read())
        self.set_pattern(f"|{handler} %P %s")
        super().setUp()

    def set_pattern(self, pattern):
        with open(PATTERN, "w", encoding="utf-8") as file:
            file.write(pattern)

    def cores_of(self, pid):
        return [one for one in os.listdir(self.cores) if one.startswith(f"core.{pid}.")]

    def crash(self):
        """(pid, where its guest's RAM was) of a qvm that is no more."""
        pid = self.attempt("a")["pid"]
        ram = ram_of(pid)
        self.assert_console("a", "> ")
        self.qvmd.type("a", f"out {THREADS['vcpu']} {CRASH:x}\r")
        self.eventually(lambda: self.qvmd.guest("a")["state"] == "failed", "it lives", within=30)
        self.assertIn(f"signal {signal.SIGSEGV.value} ", self.qvmd.guest("a")["message"])
        return pid, ram


class HandlerTest(HandlerBase):
    settings = ("core-size 64M",)

    def test_a_core_goes_to_the_handler_without_the_ram_of_the_guest(self):
        pid, ram = self.crash()
        self.assertTrue(ram)
        name = f"core.{pid}.{signal.SIGSEGV.value}"
        self.eventually(lambda: name in self.cores_of(pid), "no core", within=30)
        with open(os.path.join(self.cores, name), "rb") as file:
            parts = segments(file.read())
        self.assertTrue(any(file > 0 for _, _, file in parts), parts)  # its stacks, for one
        for begin, end in ram:
            held = [file for address, memory, file in parts
                    if address < end and begin < address + memory]
            self.assertEqual(set(held) - {0}, set(), parts)


class NoHandlerTest(HandlerBase):
    settings = ()

    def test_without_the_option_there_is_none(self):
        self.crash()  # which is over when a handler has read all
        self.assertEqual(os.listdir(self.cores), ["handler"])


if __name__ == "__main__":
    main()
