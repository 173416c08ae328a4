#!/usr/bin/env python3
"""A recipe with a mistake is refused by qvmimage with its line, before anything is fetched, and
leaves nothing behind."""

import os
import subprocess
import tempfile
import unittest

QVMIMAGE = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../etc/images/qvmimage")
KERNEL = "packages linux-image-cloud-amd64\n"


class QvmimageTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="qvm-image-")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def run_qvmimage(self, *words):
        return subprocess.run([QVMIMAGE, *words], cwd=self.directory, capture_output=True,
                              text=True, timeout=60, check=False)

    def refused(self, recipe):
        with open(os.path.join(self.directory, "web.build"), "w", encoding="ascii") as file:
            file.write(recipe)
        done = self.run_qvmimage("web.build")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(os.listdir(self.directory), ["web.build"])
        return done.stderr

    def test_what_is_wrong_with_a_recipe_is_told_with_its_line(self):
        for recipe, words in (
                ("# a comment\n\nsuit x\n", "web.build:3: 'suit' is no word of a recipe"),
                ("suite\n", "web.build:1: 'suite' wants a value"),
                (KERNEL + "size 5X\n", "web.build:2: size '5X' is no number with M or G"),
                (KERNEL + "size M\n", "web.build:2: size 'M' is no number with M or G"),
                (KERNEL + "variant big\n",
                 "web.build:2: variant 'big' is none of: essential minbase standard"),
                (KERNEL + "boot efi\n", "web.build:2: boot 'efi' is none of: bios both"),
                (KERNEL + "epoch now\n", "web.build:2: epoch 'now' is no number of seconds"),
                (KERNEL + "copy nothing /etc/motd\n", "web.build:2: 'nothing' does not exist"),
                ("packages busybox\n", "web.build: no kernel among the packages")):
            with self.subTest(recipe):
                self.assertIn(f"qvmimage: {words}", self.refused(recipe))

    def test_names_that_would_be_taken_for_another_format_are_refused(self):
        for words, said in ((("web.conf",), "'web.conf' is not NAME.build"),
                            (("web.build",), "cannot read 'web.build'"),
                            (("-f", "qcow2", "web.build"), "-f 'qcow2' is none of: raw vhd both")):
            with self.subTest(words):
                done = self.run_qvmimage(*words)
                self.assertEqual(done.returncode, 1)
                self.assertIn(said, done.stderr)
        with open(os.path.join(self.directory, "web.build"), "w", encoding="ascii") as file:
            file.write(KERNEL)
        self.assertIn("'web.vhd' is not NAME.img",
                      self.run_qvmimage("-o", "web.vhd", "web.build").stderr)
        self.assertIn("its name has to end in .vhd",
                      self.run_qvmimage("-f", "vhd", "-o", "web.img", "web.build").stderr)
        self.assertEqual(self.run_qvmimage().returncode, 2)


if __name__ == "__main__":
    unittest.main()
