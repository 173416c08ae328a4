"""Clients that speak raw JSON-RPC to a qvmd, and definitions of small guests. QVM_BUILD names the
build directory."""

import json
import os
import socket

BUILD = os.environ["QVM_BUILD"]
GUESTS = os.path.join(BUILD, "tests", "guests", "bare")
IMAGE = os.path.join(GUESTS, "guest.bzimage")
DEVICES = os.path.join(GUESTS, "devices.bzimage")  # which obeys more commands
TIMEOUT = 60


def definition(text, name="t.qvmconf", directory="/"):
    return {"words": ["@0"], "sources": [{"name": name, "directory": directory, "text": text}]}


def bare(name, run="", ram="16M", more="", image=IMAGE):
    """The bare-metal guest; `run` are commands that it obeys when it is up."""
    cmdline = f'cmdline "run={run}"\n' if run else ""
    return definition(f"system {name}\nram {ram}\n{cmdline}load {image}\nvdev ser8250\n{more}",
                      name=f"{name}.qvmconf")


class Refused(Exception):
    """An error that qvmd answered."""

    def __init__(self, error):
        super().__init__(error["message"])
        self.name = error["data"]["name"]
        self.code = error["code"]
        self.message = error["message"]


class Client:
    """One connection. Notifications that come in between are kept in `events`."""

    def __init__(self, path, timeout=TIMEOUT):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self.buffer = b""
        self.fds = []
        self.events = []
        self.last_id = 0

    def close(self):
        self.socket.close()
        for fd in self.fds:
            os.close(fd)
        self.fds = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.socket.sendall(data)

    def request(self, method, /, **params):
        self.last_id += 1
        self.send(json.dumps({"jsonrpc": "2.0", "id": self.last_id, "method": method,
                              "params": params}).encode() + b"\n")
        return self.last_id

    def line(self):
        """The next line as JSON; None at the end of the connection."""
        while b"\n" not in self.buffer:
            try:
                data, fds, _, _ = socket.recv_fds(self.socket, 1 << 20, 32)
            except ConnectionResetError:
                return None
            self.fds += fds
            if not data:
                return None
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def answer(self, number):
        while True:
            line = self.line()
            if line is None:
                raise EOFError("qvmd hung up")
            if line.get("method") == "event":
                self.events.append(line["params"])
            elif line.get("id") == number:
                if "error" in line:
                    raise Refused(line["error"])
                return line["result"]

    def call(self, method, /, **params):
        return self.answer(self.request(method, **params))

    def event(self, **members):
        """The next event that has these members."""
        while True:
            for event in self.events:
                if all(event.get(key) == value for key, value in members.items()):
                    self.events.remove(event)
                    return event
            line = self.line()
            if line is None:
                raise EOFError("qvmd hung up")
            self.events.append(line["params"])
