#!/usr/bin/env python3
"""Figures for Prometheus: through the API, through qvmctl, and over HTTP on a socket."""

import os
import signal
import socket
import stat
import subprocess
import time

from qvmtest import BUILD, QvmdTest, main

QVMCTL = os.path.join(BUILD, "cli", "qvmctl")

# The reference's own parser, by Debian's python3-prometheus-client.
PARSE = """
import json, sys
from prometheus_client.parser import text_string_to_metric_families
print(json.dumps([[f.name, f.type, f.documentation,
                   [[s.name, s.labels, s.value] for s in f.samples]]
                  for f in text_string_to_metric_families(sys.stdin.read())]))
"""


def parse(text):
    """{sample name: [(labels, value)]}, and the families."""
    import json
    done = subprocess.run(["/usr/bin/python3", "-c", PARSE], input=text, text=True,
                          capture_output=True, check=True, timeout=30)
    families = json.loads(done.stdout)
    samples = {}
    for _, _, _, some in families:
        for name, labels, value in some:
            samples.setdefault(name, []).append((labels, value))
    return samples, families


class MetricsTest(QvmdTest):
    settings = ("metrics /tmp/unused",)

    def setUp(self):
        holder = subprocess.run(["mktemp", "-d", "/tmp/qvm-metrics-XXXXXX"], text=True,
                                capture_output=True, check=True).stdout.strip()
        self.addCleanup(subprocess.run, ["rm", "-rf", holder], check=False)
        self.path = os.path.join(holder, "metrics.sock")
        self.settings = (f"metrics {self.path}",)
        super().setUp()

    def connect(self):
        one = socket.socket(socket.AF_UNIX)
        one.settimeout(30)
        one.connect(self.path)
        self.addCleanup(one.close)
        return one

    def read_all(self, one):
        data = b""
        try:
            while more := one.recv(65536):
                data += more
        except ConnectionResetError:
            data += b"(reset)"
        return data

    def get(self, request=b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"):
        one = self.connect()
        one.sendall(request)
        return self.read_all(one)

    def text(self):
        head, body = self.get().split(b"\r\n\r\n", 1)
        self.assertIn(b"HTTP/1.1 200 OK", head)
        self.assertIn(b"Content-Type: text/plain; version=0.0.4", head)
        self.assertIn(f"Content-Length: {len(body)}\r\n".encode(), head + b"\r\n")
        return body.decode()

    def test_the_reference_parser_reads_all_of_it(self):
        self.start("web", more="cpu\ncpu\n")
        self.start("db")
        self.assert_console("web", "> ")
        self.qvmd.call("guest.kill", name="db")
        time.sleep(0.3)  # an older sample is good enough for so long
        samples, families = parse(self.text())
        self.assertEqual(len({name for name, *_ in families}), len(families))
        for name, kind, doc, _ in families:
            self.assertIn(kind, ("counter", "gauge"), name)
            self.assertTrue(doc.endswith("."), name)
        self.assertIn(({"guest": "web", "state": "running"}, 1.0), samples["qvm_guest_state"])
        self.assertIn(({"guest": "db", "state": "stopped"}, 1.0), samples["qvm_guest_state"])
        self.assertIn(({"state": "running"}, 1.0), samples["qvm_guests"])
        self.assertEqual(samples["qvm_guest_memory_bytes"], [({"guest": "web"}, float(16 << 20))])
        exits = {(one["vcpu"], one["reason"]): value
                 for one, value in samples["qvm_guest_vcpu_exits_total"]}
        self.assertGreater(exits["0", "io"], 10)
        self.assertGreater(samples["qvm_guest_cpu_seconds_total"][0][1], 0)
        self.assertGreater(samples["process_resident_memory_bytes"][0][1], 1 << 20)
        self.assertEqual(samples["qvm_store_degraded"], [({}, 0.0)])
        for one in samples["qvm_guest_vcpu_kvm_total"]:
            self.assertFalse(one[0]["event"].endswith("_ns"))

    def test_qvmctl_says_the_same(self):
        self.start("a")
        self.assert_console("a", "> ")
        time.sleep(0.3)
        done = subprocess.run([QVMCTL, "--socket", self.qvmd.socket, "metrics"], text=True,
                              capture_output=True, timeout=30, check=True)
        ours, theirs = parse(done.stdout)[0], parse(self.text())[0]
        self.assertEqual(ours.keys(), theirs.keys())

    def test_what_is_no_get_of_metrics_is_refused(self):
        for request, status in ((b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
                                (b"GET /etc/passwd HTTP/1.1\r\n\r\n", b"404"),
                                (b"GET /metrics\r\n\r\n", b"400"), (b"\r\n\r\n", b"400"),
                                (b"GET /" + b"a" * 8187, b"431")):
            self.assertTrue(self.get(request).startswith(b"HTTP/1.1 " + status), request[:40])
        long = self.get(b"GET /" + b"a" * 100000)  # the answer may be lost with what it says
        self.assertIn(long[:12], (b"HTTP/1.1 431", b"(reset)"))
        garbage = self.get(b"\0\xff \xfe HTTP/1.1\r\n\r\n" + b"x" * 8192)
        self.assertNotIn(b"200 OK", garbage)
        self.assertIn(b"200 OK", self.get(b"GET /metrics?x=1 HTTP/1.0\r\n\r\n"))
        self.assertIn(b"200 OK", self.get(b"GET / HTTP/1.1\n\n"))

    def test_slow_scrapers_are_few_are_cut_and_harm_nobody(self):
        before = self.measure()
        slow = [self.connect() for _ in range(8)]
        for one in slow:
            one.sendall(b"GET /metrics HTTP/1.1\r\n")
        self.assertEqual(self.read_all(self.connect()), b"")  # the ninth
        self.start("a")
        self.assertEqual(self.qvmd.guest("a")["state"], "running")
        for one in slow:
            self.assertEqual(self.read_all(one), b"")
        self.assertIn("qvm_guests", self.text())
        self.qvmd.call("guest.kill", name="a")
        self.assert_returns_to(before)

    def test_the_place_of_one_that_was_cut_is_free_at_once(self):
        slow = [self.connect() for _ in range(8)]
        self.assertEqual(self.read_all(self.connect()), b"")  # all of them are in
        self.qvmd.call("guest.list")  # and their sockets are watched
        self.qvmd.process.send_signal(signal.SIGSTOP)  # it is to see both in one turn of its loop
        slow[0].close()
        next_one = self.connect()
        next_one.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        self.qvmd.process.send_signal(signal.SIGCONT)
        self.assertIn(b"200 OK", self.read_all(next_one))

    def test_a_scraper_that_hangs_up_at_once_leaves_nothing(self):
        self.start("a")
        before = self.measure()
        for _ in range(50):
            one = self.connect()
            try:
                one.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            except BrokenPipeError:
                pass  # there were too many for a moment
            one.close()
        self.assert_returns_to(before)

    def test_the_socket_is_for_nobody_else_and_goes_with_qvmd(self):
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        self.qvmd.crash()
        self.qvmd.start()  # over the one that was left there
        self.assertIn("qvm_guests", self.text())
        self.qvmd.stop()
        self.assertFalse(os.path.exists(self.path))
        with open(self.path, "w", encoding="utf-8") as file:
            file.write("mine")
        self.assertRaises(RuntimeError, self.qvmd.start)
        self.assertIn("is no socket", self.qvmd.log())
        with open(self.path, encoding="utf-8") as file:
            self.assertEqual(file.read(), "mine")
        os.unlink(self.path)
        self.qvmd.start()


if __name__ == "__main__":
    main()
