"""Whether TCG mixed a guest's state up with L1's own: docs/lab.md."""

import re

SHUT_DOWN = re.compile(
    r"triple fault on vCPU \d+: rip=0xfff0 rsp=0x0 rflags=0x2 .* cs=0xf000 .* efer=0x0$")
PAGE_TABLE = re.compile(r"\bcr3=0x([0-9a-f]+)")


def sign(guest, vdevs):
    """Of a guest of guest.list, and the vdevs of its guest.show: what tells so, or None."""
    if SHUT_DOWN.match(guest.get("message", "")):
        return guest["message"]
    for row in (row for vdev in vdevs or () for row in vdev["values"]):
        found = PAGE_TABLE.search(row["value"])
        if found and int(found[1], 16) >= guest["memory"]:
            return f"{row['name']} has a page table behind its RAM: {row['value']}"
    return None
