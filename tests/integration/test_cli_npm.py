#!/usr/bin/env python3
"""The API driven by a JSON-RPC client that is not ours: json-rpc-2.0 from npm, in Node.js."""

import fcntl
import os
import shutil
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from private_qvmd import BUILD, PrivateQvmd  # noqa: E402

SKIPPED = 77  # for ctest


SOURCE = os.path.join(HERE, "npm-client")


def wanted():
    """What an installation is made from, as one string."""
    texts = []
    for name in ("package.json", "package-lock.json", ".npmrc", "client.mjs"):
        with open(os.path.join(SOURCE, name), encoding="utf-8") as file:
            texts.append(file.read())
    return "\n".join(texts)


def install():
    """The client and its library in the build directory; installed once, whoever asks first.

    Tests run side by side, and one may have been ended in the middle: the lock lets one install
    at a time, and the stamp is written when npm is through."""
    home = os.path.join(BUILD, "npm-client")
    stamp = os.path.join(home, "installed")
    os.makedirs(home, exist_ok=True)
    with open(os.path.join(BUILD, "npm-client.lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        there = None
        if os.path.exists(stamp):
            with open(stamp, encoding="utf-8") as file:
                there = file.read()
        if there != wanted():
            shutil.copytree(SOURCE, home, dirs_exist_ok=True)
            subprocess.run(["npm", "ci"], cwd=home, check=True, timeout=300)
            with open(stamp, "w", encoding="utf-8") as file:
                file.write(wanted())
    return home


class NpmTest(unittest.TestCase):
    def test_a_client_that_is_not_ours_gets_along_with_qvmd(self):
        home = install()
        qvmd = PrivateQvmd()
        self.addCleanup(qvmd.close)
        done = subprocess.run(["node", "client.mjs", qvmd.socket], cwd=home, text=True, timeout=120,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        print(done.stdout)
        self.assertEqual(done.returncode, 0, done.stdout + qvmd.log())
        self.assertGreaterEqual(done.stdout.count("ok: "), 6)


if __name__ == "__main__":
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            print(f"SKIPPED: {program} is missing (tests/setup npm installs it); "
                  "the API was NOT tried with a client that is not ours")
            sys.exit(SKIPPED)
    unittest.main()
