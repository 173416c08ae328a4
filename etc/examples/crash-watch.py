#!/usr/bin/env python3
"""Follow what happens to the guests of qvmd, and react to each that fails: keep the end of its log
in a file, and start it again, but not for ever.

    crash-watch.py [--socket PATH] [--logs DIRECTORY] [--restarts COUNT]

Runs until it is interrupted, also while qvmd is restarted: it goes on behind the last event that it
has seen. Needs nothing but Python. The API is described in qvm-api(7).
"""

import argparse
import base64
import json
import os
import socket
import sys
import time


class Refused(Exception):
    """qvmd refused a request; `name` is the stable name of the reason."""

    def __init__(self, error):
        super().__init__(error["message"])
        self.name = error.get("data", {}).get("name")


class Qvmd:
    """A connection: one JSON-RPC message a line."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self.lines = self.socket.makefile("r", encoding="utf-8")
        self.last_id = 0
        self.waiting = []  # events that came while an answer was awaited

    def close(self):
        self.lines.close()
        self.socket.close()

    def receive(self):
        line = self.lines.readline()
        if not line.endswith("\n"):
            raise ConnectionError("qvmd ended the connection")
        return json.loads(line)

    def call(self, method, **params):
        self.last_id += 1
        request = {"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            message = self.receive()
            if message.get("method") == "event":
                self.waiting.append(message["params"])
            elif message.get("id") == self.last_id:
                if "error" in message:
                    raise Refused(message["error"])
                return message["result"]

    def events(self, since):
        """All events behind number `since` (None: from now on), and then each as it happens."""
        wanted = {"limit": 1} if since is None else {"since": since}
        kept = self.call("events.subscribe", **wanted)
        if since is not None:
            yield from kept.get("events", [])
        while True:
            if self.waiting:
                yield self.waiting.pop(0)
                continue
            message = self.receive()
            if message.get("method") == "event":
                yield message["params"]


class Watch:
    def __init__(self, options):
        self.options = options
        self.seen = None  # number of the last event
        self.restarts = {}

    def say(self, text):
        print(text, flush=True)

    def keep_log(self, name, instance):
        # A connection of its own: the answer does not wait behind what happens.
        qvmd = Qvmd(self.options.socket)
        try:
            log = base64.b64decode(qvmd.call("guest.log", name=name)["data"])
        finally:
            qvmd.close()
        path = os.path.join(self.options.logs, f"{name}-{instance}.log")
        with open(path, "wb") as file:
            file.write(log)
        self.say(f"{name}: {len(log)} bytes of its log are in {path}")

    def start_again(self, name):
        count = self.restarts.get(name, 0)
        if count >= self.options.restarts:
            self.say(f"{name}: was started again {count} times, and stays as it is")
            return
        self.restarts[name] = count + 1
        qvmd = Qvmd(self.options.socket)
        try:
            guest = qvmd.call("guest.start", name=name, timeout_ms=60000)["guest"]
            self.say(f"{name}: {guest['state']} again, pid {guest.get('pid')}")
        finally:
            qvmd.close()

    def react(self, event):
        if event.get("state") != "failed":
            return
        name = event["guest"]
        self.say(f"{name}: failed: {event.get('reason')}: {event.get('message', '')}")
        for step in (lambda: self.keep_log(name, event.get("instance", 0)),
                     lambda: self.start_again(name)):
            try:
                step()
            except (Refused, OSError) as error:
                self.say(f"{name}: {error}")

    def run(self):
        while True:
            try:
                qvmd = Qvmd(self.options.socket)
            except OSError as error:
                print(f"crash-watch: {self.options.socket}: {error}; trying again",
                      file=sys.stderr, flush=True)
                time.sleep(1)
                continue
            try:
                if self.seen is None:
                    self.seen = qvmd.call("events.list", limit=1).get("last", 0)
                    self.say(f"watching from event {self.seen} on")
                for event in qvmd.events(self.seen):
                    self.seen = event["seq"]
                    self.react(event)
            except OSError as error:
                print(f"crash-watch: {error}; connecting again", file=sys.stderr, flush=True)
            finally:
                qvmd.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--socket", default=os.environ.get("QVM_SOCKET", "/run/qvm/qvmd.sock"))
    parser.add_argument("--logs", default=".", help="directory for the logs of what failed")
    parser.add_argument("--restarts", type=int, default=3, help="how often a guest is started again")
    try:
        Watch(parser.parse_args()).run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
