#!/usr/bin/env python3
"""The API driven by a JSON-RPC client that is not ours: json-rpc-2.0 from npm, in Node.js."""

import os
import shutil
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from private_qvmd import BUILD, PrivateQvmd  # noqa: E402

SKIPPED = 77  # for ctest


def install():
    """The client and its library in the build directory; installed once."""
    home = os.path.join(BUILD, "npm-client")
    os.makedirs(home, exist_ok=True)
    source = os.path.join(HERE, "npm-client")
    changed = False
    for name in ("package.json", "package-lock.json", ".npmrc", "client.mjs"):
        with open(os.path.join(source, name), "rb") as file:
            wanted = file.read()
        path = os.path.join(home, name)
        there = None
        if os.path.exists(path):
            with open(path, "rb") as file:
                there = file.read()
        if there != wanted:
            shutil.copyfile(os.path.join(source, name), path)
            changed = True
    if changed or not os.path.isdir(os.path.join(home, "node_modules", "json-rpc-2.0")):
        subprocess.run(["npm", "ci"], cwd=home, check=True, timeout=300)
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
