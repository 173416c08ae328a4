"""What a failed test leaves for whoever looks for the reason, who may have nothing else: what qvmd
says of its guests, what the kernel says of their processes, and the ends of logs and consoles."""

import glob
import json
import os
import subprocess

LINES_MAX = 15
LINE_MAX = 600


def tail(text, lines=LINES_MAX):
    return "\n".join("  " + line[-LINE_MAX:] for line in text.splitlines()[-lines:])


def read(path):
    """All of the file in one line, or why not."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().replace("\0", " ").strip().replace("\n", " | ")
    except OSError as error:
        return error.strerror


def of_process(pid):
    """Its threads: what they are called, do, and wait for; CPU time says whether they get on."""
    told = [f"pid {pid}: {read(f'/proc/{pid}/cmdline')}"]
    for task in sorted(glob.glob(f"/proc/{pid}/task/*"), key=lambda path: int(path.split("/")[-1])):
        # the time on the CPU in ns, waiting for one, and how often; then number and arguments
        told.append("  " + "; ".join([task.split("/")[-1]] + [
            read(f"{task}/{name}") for name in ("comm", "wchan", "schedstat", "syscall", "stack")]))
    return told


def of_guest(qvmd, guest):
    told = [f"guest {json.dumps(guest)}"]
    try:
        told.append("its console ends so:\n" + tail(qvmd.console(guest["name"])))
        told.append("its vdevs: " + json.dumps(
            qvmd.call("guest.show", name=guest["name"]).get("vdevs"))[-4 * LINE_MAX:])
    except Exception as error:  # pylint: disable=broad-except: whatever can be had is told
        told.append(f"  no more is known: {error}")
    return told


def of_qvmd(qvmd):
    """As long as it answers; it may be what is broken."""
    try:
        with qvmd.client(timeout=5) as client:
            guests = client.call("guest.list")["guests"]
        return [line for guest in guests for line in of_guest(qvmd, guest)]
    except Exception as error:  # pylint: disable=broad-except: see above
        return [f"qvmd does not answer: {error!r}"]


def collect(qvmd):
    """Everything, as one text."""
    told = of_qvmd(qvmd)
    for pid in [qvmd.process.pid, *qvmd.workers()]:
        told += of_process(pid)
    for path in sorted(glob.glob(os.path.join(qvmd.home, "log", "*"))):
        with open(path, encoding="utf-8", errors="replace") as file:
            told += [f"{os.path.basename(path)}:", tail(file.read())]
    if "LAB" in os.environ:
        done = subprocess.run(["dmesg"], stdout=subprocess.PIPE, text=True, check=False)
        told += ["dmesg:", tail(done.stdout)]
    return "\n".join([*told, "qvmd's log:", tail(qvmd.log()), ""])
