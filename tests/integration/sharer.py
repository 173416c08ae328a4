"""A bare-metal guest that shares memory through the factory page, driven at its console."""

import re
import struct

from rpc import IMAGE, definition

FACTORY, WINDOW, GSI = 0xd0000000, 0xd1000000, 17
SIZE, NAME, FIND, STATUS, SHMEM, VECTOR = 24, 28, 60, 20, 8, 16
IDX, NOTIFY, DETACH = 4, 8, 12
OK, FAILED, NO_MEMORY, TOO_MANY, ILLEGAL, NO_PERMISSION, NOT_THERE = range(7)
PAGE = 4096


def sharing(name, *words, window="1M"):
    """A bare guest with a factory page."""
    text = (f"system {name}\nram 16M\nload {IMAGE}\nvdev ser8250\n"
            f"vdev shmem loc mem:{FACTORY:x},4K loc mem:{WINDOW:x},{window} intr ioapic:{GSI} "
            f"window {window} {' '.join(words)}\n")
    return definition(text)


class Sharer:
    """A guest at whose console we sit."""

    def __init__(self, test, name, *words, **more):
        self.test, self.name, self.name_there = test, name, (0,) * 8
        self.info = test.qvmd.call("guest.start", name=name,
                                   definition=sharing(name, *words, **more))["guest"]
        test.assert_console(name, "> ")

    def ask(self, command, answer):
        """Type, and wait for a new answer, a regular expression."""
        said = self.test.qvmd.console(self.name)
        self.test.qvmd.type(self.name, command + "\r")
        found = []

        def is_answered():
            found[:] = re.findall(answer, self.test.qvmd.console(self.name)[len(said):])
            return bool(found)

        self.test.eventually(is_answered, lambda: f"{self.name}: no {answer!r} after {command!r}: "
                             + self.test.qvmd.console(self.name)[-500:], 20)
        return found[0]

    def read(self, address):
        return int(self.ask(f"mem {address:x}", rf"\n0x{address:x}: 0x([0-9a-f]+)\r"), 16)

    def write(self, address, value):
        self.ask(f"poke {address:x} {value:x}", rf"\n0x{address:x} = 0x[0-9a-f]+\r")

    def write_name(self, name):
        words = struct.unpack("<8I", name.encode().ljust(32, b"\0"))
        for i, word in enumerate(words):
            if word != self.name_there[i]:
                self.write(FACTORY + NAME + 4 * i, word)
        self.name_there = words

    def attach(self, name, pages):
        """The status; and where the control page is."""
        self.write_name(name)
        self.write(FACTORY + (SIZE if pages else FIND), pages)
        return self.read(FACTORY + STATUS), self.read(FACTORY + SHMEM)

    def type(self, command):
        """Without an answer: where news may fall into it."""
        self.test.qvmd.type(self.name, command + "\r")

    def watch(self, control):
        self.ask(f"watch {GSI} {control:x}", "\nwatching")

    def hears(self, *news, since=0):
        """One of these news."""
        words = [f"news 0x{one:x}\r" for one in news]
        self.test.eventually(lambda: any(one in self.test.qvmd.console(self.name)[since:]
                                         for one in words),
                             lambda: f"{self.name} never heard {words}: "
                             + self.test.qvmd.console(self.name)[-500:], 20)

    def said(self):
        return len(self.test.qvmd.console(self.name))
