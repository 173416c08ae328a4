"""Plays qvmd towards a qvm: gives birth to it with the descriptors of proto/spawn_fds.h and holds
the conversation of its control socket."""

import array
import fcntl
import json
import os
import signal
import socket
import subprocess
import tempfile
import time

SEALS = 0x1 | 0x2 | 0x4 | 0x8  # F_SEAL_SEAL SHRINK GROW WRITE
F_ADD_SEALS = 1033
VERSION = 2


class Gone(Exception):
    """The qvm closed the conversation."""


def definition(text, directory="/", words=("@0",), env=None, name="t.qvmconf"):
    return {"words": list(words),
            "sources": [{"name": name, "directory": directory, "text": text}],
            "env": [{"name": key, "value": value} for key, value in (env or {}).items()]}


class Conversation:
    """One connection to the control socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(10)
        self.socket.connect(path)

    def send(self, name, body=None, fds=()):
        self.send_raw(json.dumps({name: body or {}}).encode(), fds)

    def send_raw(self, packet, fds=()):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.socket.sendmsg([packet], rights)

    def receive(self):
        """The next packet: its name, its body, its descriptors."""
        try:
            data, fds, _, _ = socket.recv_fds(self.socket, 65536, 64)
        except ConnectionResetError:
            data, fds = b"", []
        if not data:
            raise Gone
        packet = json.loads(data)
        (name, body), = packet.items()
        return name, body, fds

    def expect(self, wanted):
        """The next packet called `wanted`: its body (others before it are dropped)."""
        while True:
            name, body, fds = self.receive()
            if name == wanted:
                self.fds = fds
                return body
            for fd in fds:
                os.close(fd)

    def hello(self, nonce, version=VERSION):
        self.send("hello", {"version": version, "nonce": nonce})
        return self.expect("hello")

    def is_cut(self):
        try:
            while True:
                self.receive()
        except Gone:
            return True
        except socket.timeout:
            return False

    def close(self):
        self.socket.close()


class QvmParent:
    """A qvm process under us."""

    def __init__(self, qvm, vdevs, what, name="web", nonce="4711", daemon_uid=None,
                 kvm="/dev/kvm"):
        """`kvm`: what it gets to make a VM ahead with; None: nothing, as from the first qvmd."""
        self.directory = tempfile.mkdtemp(prefix="qvm-under-")
        self.path = os.path.join(self.directory, "control")
        self.log_path = os.path.join(self.directory, "log")
        self.exit_path = os.path.join(self.directory, "exit")
        self.nonce = nonce
        self.conversations = []
        self.kvm = kvm
        self.spawn(qvm, vdevs, {
            "name": name, "instance": 7, "nonce": nonce,
            "daemon_uid": os.getuid() if daemon_uid is None else daemon_uid, "definition": what})

    def start_descriptor(self, start):
        fd = os.memfd_create("start", os.MFD_ALLOW_SEALING)
        os.write(fd, json.dumps(start).encode())
        fcntl.fcntl(fd, F_ADD_SEALS, SEALS)
        return fd

    def spawn(self, qvm, vdevs, start):
        control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control.bind(self.path)
        ready, ready_end = os.pipe()
        log = os.open(self.log_path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        fds = [os.open("/dev/null", os.O_RDWR), log, log, control.fileno(),
               self.start_descriptor(start),
               os.open(self.exit_path, os.O_CREAT | os.O_RDWR, 0o600),
               os.open(vdevs, os.O_PATH | os.O_DIRECTORY), ready_end]
        if self.kvm:
            fds.append(os.open(self.kvm, os.O_RDWR))
        pid = os.fork()
        if pid == 0:
            try:
                high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in fds]  # out of each other's way
                for i, fd in enumerate(high):
                    os.dup2(fd, i, inheritable=True)
                os.closerange(len(fds), 4096)
                os.execve(qvm, ["qvm", "--under-qvmd", start["name"]], {})
            finally:
                os._exit(127)
        for fd in set(fds) - {control.fileno()}:
            os.close(fd)
        control.close()
        self.pid = pid
        self.status = None
        os.read(ready, 1)  # it listens, or it has ended
        os.close(ready)

    def connect(self):
        self.conversations.append(Conversation(self.path))
        return self.conversations[-1]

    def meet(self):
        """Connect and say hello: the conversation, and the qvm's hello."""
        conversation = self.connect()
        return conversation, conversation.hello(self.nonce)

    def grant_all(self, conversation):
        """Take its ask and grant all of it, as whoever we are: the items."""
        items, more = [], True
        while more:
            ask = conversation.expect("ask")
            items += ask["items"]
            more = ask.get("more", False)
        fds, granted = [], []
        for i, item in enumerate(items):
            has_descriptor = item["kind"] in ("kvm", "file", "stream")
            granted.append({"item": i, "has_descriptor": has_descriptor})
            if has_descriptor:
                flags = os.O_RDWR if item.get("is_writable") else os.O_RDONLY
                fds.append(os.open(item["id"], flags))
        conversation.send("grant", {"items": granted}, fds)
        for fd in fds:
            os.close(fd)
        return items

    def run(self):
        """From hello to the running guest: the conversation."""
        conversation, _ = self.meet()
        self.grant_all(conversation)
        conversation.expect("running")
        return conversation

    def wait(self, seconds=10):
        """Its exit status (negative: the signal that ended it)."""
        deadline = time.monotonic() + seconds
        while self.status is None and time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid != 0:
                self.status = os.waitstatus_to_exitcode(status)
            else:
                time.sleep(0.005)
        return self.status

    def is_alive(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid != 0:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is None

    def record(self):
        """Its exit record."""
        with open(self.exit_path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        assert len(lines) == 1, lines
        return json.loads(lines[0])

    def log(self):
        with open(self.log_path, encoding="utf-8") as file:
            return file.read()

    def close(self):
        for conversation in self.conversations:
            conversation.close()
        if self.is_alive():
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        subprocess.run(["rm", "-rf", self.directory], check=False)
