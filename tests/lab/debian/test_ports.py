#!/usr/bin/python3
"""A stock Debian guest whose console has ports: found by their names, with bytes both ways and a
shell at one of them, also after qvmd was killed."""

import os
import sys
from functools import partial

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import debian  # noqa: E402: only after the line above
import family  # noqa: E402

SECONDS = 120
LINES = 4000
VDEV = "vdev virtio-console name many console shell port agent port file,>{}\n"


class PortsTest(debian.DebianTest):
    def test_ports_are_found_by_name_and_carry_bytes_both_ways(self):
        self.file = os.path.join(self.qvmd.top, "said")
        definition = debian.debian("a")
        definition["sources"][0]["text"] = definition["sources"][0]["text"].replace(
            "initrd.img", "initrd-disk.img") + VDEV.format(self.file)
        self.qvmd.call("guest.start", name="a", definition=definition)
        console = self.open()
        console.wait_for_shell()
        console.run("load-modules", SECONDS)
        self.in_turn(partial(self.they_have_their_names, console),
                     partial(self.what_is_said_goes_to_the_file, console),
                     partial(self.bytes_go_both_ways, console),
                     partial(self.a_console_has_a_shell, console))

    def open(self, **options):
        console = debian.Console(self.qvmd, "a", **options)
        self.addCleanup(console.close)
        return console

    def they_have_their_names(self, console):
        said = console.run("cd /sys/class/virtio-ports; grep . */name; cd /", SECONDS)
        self.assertEqual(said.split(), ["vport0p1/name:shell", "vport0p2/name:agent",
                                        "vport0p3/name:file"])

    def what_is_said_goes_to_the_file(self, console):
        console.run(f"seq {LINES} >/dev/vport0p3", SECONDS)
        expected = "".join(f"{i}\n" for i in range(1, LINES + 1))

        def is_there():
            with open(self.file, encoding="ascii") as file:
                return file.read() == expected

        self.eventually(is_there, "what the guest said is not in the file")

    def bytes_go_both_ways(self, console):
        agent = self.open(port="agent")
        console.run("echo from the guest >/dev/vport0p2", SECONDS)
        agent.read_until("from the guest\n")
        agent.send("".join(f"{i}\n" for i in range(1, LINES + 1)))  # nobody has it open yet
        console.run(f"head -n {LINES} /dev/vport0p2 >/heard; seq {LINES} | cmp - /heard", SECONDS)

    def a_console_has_a_shell(self, console):
        console.run("{ setsid sh -c 'exec sh </dev/hvc1 >/dev/hvc1 2>&1' & }", SECONDS)
        shell = self.open(port="shell")
        shell.send("echo $((6 * 7))\n")
        shell.read_until(r"\n42\r\n", SECONDS)
        self.assertRegex(family.state(self, "a", "many")["port-1"], "shell, console, open")
        self.qvmd.crash()
        self.qvmd.start()
        self.qvmd.wait("a", "running")
        shell.send("echo $((6 * 8))\n")
        shell.read_until(r"\n48\r\n", SECONDS)
        again = self.open(port="shell", read_only=True)
        again.read_until(r"\n48\r\n", SECONDS)


if __name__ == "__main__":
    debian.main()
