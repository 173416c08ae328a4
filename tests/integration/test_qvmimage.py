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
                (KERNEL + "copy web.build\n", "web.build:2: copy wants SOURCE and PATH"),
                (KERNEL + "deb qvm_*.deb\n", "web.build:2: 'qvm_*.deb' does not exist"),
                (KERNEL + "image web.build\n", "web.build:2: image wants NAME.build and PATH"),
                (KERNEL + "image no.build /disk\n", "web.build:2: 'no.build' does not exist"),
                (KERNEL + "guest web.build\n", "web.build:2: 'web.build' is not NAME.qvmconf"),
                ("packages busybox\n", "web.build: no kernel among the packages")):
            with self.subTest(recipe):
                self.assertIn(f"qvmimage: {words}", self.refused(recipe))

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)

    def refused_with_guests(self, recipe):
        self.write("web.build", KERNEL + recipe)
        done = self.run_qvmimage("-I", "guests", "web.build")
        self.assertEqual(done.returncode, 1, done.stderr)
        return done.stderr

    def test_guests_are_what_they_are_called_and_come_in_an_order_that_can_be(self):
        self.write("guests/db.qvmconf", "system db\nram 64M\n")
        self.write("guests/mail.qvmconf", "system post\nram 64M\n")
        for recipe, words in (
                ("guest mail.qvmconf\n", "web.build:2: 'mail.qvmconf' does not describe 'mail': "
                                         "it has no line 'system mail'"),
                ("guest db.qvmconf web\n",
                 "web.build:2: 'db' would be started after 'web', which is no guest so far"),
                ("guest db.qvmconf\nguest db.qvmconf\n",
                 "web.build:3: there is a guest 'db' already")):
            with self.subTest(recipe):
                self.assertIn(f"qvmimage: {words}", self.refused_with_guests(recipe))

    def test_a_pattern_means_one_file(self):
        self.write("guests/qvm_1_amd64.deb", "")
        self.write("guests/qvm_2_amd64.deb", "")
        self.assertIn("web.build:2: 'guests/qvm_*.deb' means several files",
                      self.refused_with_guests("deb qvm_*.deb\n"))

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
