#!/usr/bin/env python3
"""The API's edges: what strangers, fools and the impatient get, while everybody else goes on."""

import grp
import json
import os
import shutil
import socket
import time

from qvmtest import IMAGE, Client, QvmdTest, Refused, bare, definition, main

LINE_MAX = 5 << 20
DEPTH_MAX = 16
STRANGER_LINE_MAX = 65536
REPLIES_MAX = 1024
ORPHANS_MAX = 4096
NOBODY = 65534
SOURCE = {"name": "a.qvmconf", "directory": "/", "text": "system a\nram 1M\n"}
VIEWERS, OPERATORS, ADMINS = "games", "users", "audio"  # groups that every Debian has


class ApiTest(QvmdTest):
    def setUp(self):
        super().setUp()
        self.bystander = self.qvmd.client()
        self.addCleanup(self.bystander.close)

    def tearDown(self):
        self.assertIn("guests", self.bystander.call("guest.list"))
        self.assertIsNone(self.qvmd.process.poll())
        self.assert_invariants()

    def answer_to(self, data):
        with self.qvmd.client() as client:
            client.send(data)
            return client.line()

    def assert_error(self, data, name):
        line = self.answer_to(data)
        self.assertEqual(line["error"]["data"]["name"], name, line)
        return line

    # ---- messages that are none ----

    def test_what_is_no_message_gets_an_answer_and_the_connection_goes_on(self):
        with self.qvmd.client() as client:
            for data, name in ((b"rubbish", "parse-error"), (b"", "parse-error"),
                               (b"\x00\xff\xfe", "parse-error"), (b"[]", "invalid-request"),
                               (b"{}", "invalid-request"), (b"17", None),
                               (b'{"jsonrpc":"1.0","id":1,"method":"host.info"}',
                                "invalid-request"),
                               (b'{"jsonrpc":"2.0","id":{},"method":"host.info"}',
                                "invalid-request"),
                               (b'{"jsonrpc":"2.0","id":1,"method":"host.info","more":1}',
                                "invalid-request")):
                client.send(data + b"\n")
                line = client.line()
                if name is not None:
                    self.assertEqual(line["error"]["data"]["name"], name, data)
            self.assertEqual(client.call("guest.list"), {"guests": []})

    def test_wrong_methods_and_members_are_named(self):
        for method, params, name, words in (
                ("guest.fly", {}, "no-such-method", "guest.fly"),
                ("guest.start", {}, "invalid-params", "name"),
                ("guest.start", {"name": "a", "wings": 2}, "invalid-params", "wings"),
                ("guest.start", {"name": 7}, "invalid-params", "name"),
                ("guest.start", {"name": "a/b"}, "invalid-params", "name"),
                ("guest.start", {"name": "x" * 64}, "invalid-params", "name"),
                ("guest.define", {"name": "a"}, "invalid-params", "definition"),
                ("guest.define", {"name": "a", "definition": {"words": ["@1"], "sources": [SOURCE]}},
                 "invalid-params", "'@1' names no source"),
                ("guest.define", {"name": "a", "definition": {"words": ["@", "x"],
                                                              "sources": [SOURCE]}},
                 "invalid-params", "'@' names no source"),
                ("guest.start", {"name": "a", "definition": {"words": ["@0x"],
                                                             "sources": [SOURCE]}},
                 "invalid-params", "'@0x' names no source"),
                ("guest.stop", {"name": "a", "timeout_ms": -1}, "invalid-params", "timeout_ms"),
                ("guest.wait", {"name": "a", "state": "flying"}, "invalid-params", "state"),
                ("guest.stop", {"name": "a"}, "no-such-guest", "'a'")):
            message = self.refused(name, method, **params)
            self.assertIn(words, message)

    def test_a_name_of_63_letters_is_taken(self):
        self.qvmd.call("guest.define", name="x" * 63, definition=bare("x" * 63))
        self.assertEqual(list(self.qvmd.guests()), ["x" * 63])

    def test_a_line_may_be_as_long_as_the_limit_and_not_longer(self):
        self.assert_error(b" " * (LINE_MAX - 1) + b"x\n", "parse-error")
        with self.qvmd.client() as client:
            try:
                client.send(b" " * (LINE_MAX + 1) + b"\n")
            except (BrokenPipeError, ConnectionResetError):
                pass
            self.assertEqual(client.line()["error"]["data"]["name"], "too-big")
            self.assertIsNone(client.line())

    def test_nesting_may_be_as_deep_as_the_limit_and_not_deeper(self):
        for depth, name in ((DEPTH_MAX, "invalid-request"), (DEPTH_MAX + 1, "parse-error")):
            self.assert_error(b"[" * depth + b"]" * depth + b"\n", name)

    def test_a_message_in_pieces_is_one_message(self):
        text = json.dumps({"jsonrpc": "2.0", "id": 5, "method": "guest.list"}).encode() + b"\n"
        with self.qvmd.client() as client:
            for byte in text:
                client.send(bytes([byte]))
            self.assertEqual(client.line()["id"], 5)

    def test_many_messages_at_once_are_answered_in_their_order(self):
        text = b"".join(json.dumps({"jsonrpc": "2.0", "id": number, "method": "host.info"})
                        .encode() + b"\n" for number in range(3000))
        with self.qvmd.client() as client:
            client.socket.settimeout(None)
            pid = os.fork()
            if pid == 0:
                client.send(text)
                os._exit(0)
            self.assertEqual([client.line()["id"] for _ in range(3000)], list(range(3000)))
            os.waitpid(pid, 0)

    def test_half_a_message_is_cut_after_its_time_and_meanwhile_stops_nobody(self):
        with self.qvmd.client() as client:
            client.send(b'{"jsonrpc"')
            begin = time.monotonic()
            self.bystander.call("guest.list")
            self.assertLess(time.monotonic() - begin, 1)
            self.assertEqual(client.line()["error"]["data"]["name"], "timeout")
            self.assertIsNone(client.line())
            self.assertGreater(time.monotonic() - begin, 9)

    def test_a_notification_gets_no_answer(self):
        with self.qvmd.client() as client:
            client.send(b'{"jsonrpc":"2.0","method":"guest.list"}\n')
            client.send(b'{"jsonrpc":"2.0","id":"x","method":"guest.list"}\n')
            self.assertEqual(client.line()["id"], "x")

    # ---- those who do not read, or leave ----

    def test_who_never_reads_is_cut_and_costs_a_bounded_amount(self):
        client = self.qvmd.client()
        client.socket.setblocking(False)
        request = b'{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}\n' * 1000
        end = time.monotonic() + 30
        try:
            while time.monotonic() < end:
                try:
                    client.socket.send(request)
                except BlockingIOError:
                    time.sleep(0.1)
        except (BrokenPipeError, ConnectionResetError):
            pass
        else:
            self.fail("nobody cut it")
        with open(f"/proc/{self.qvmd.process.pid}/status", encoding="utf-8") as file:
            status = dict(line.split(":", 1) for line in file)
        self.assertLess(int(status["VmHWM"].split()[0]), 128 * 1024)
        client.close()

    def test_who_has_said_all_still_gets_the_answer(self):
        self.qvmd.call("guest.define", name="a", definition=bare("a"))
        with self.qvmd.client() as client:
            number = client.request("guest.start", name="a")
            client.socket.shutdown(socket.SHUT_WR)
            self.assertEqual(client.answer(number)["guest"]["state"], "running")
            self.assertIsNone(client.line())

    def test_who_waits_and_leaves_is_forgotten(self):
        self.qvmd.call("guest.define", name="a", definition=bare("a"))
        time.sleep(0.1)  # the connection of that call is still being closed
        self.eventually(lambda: self.qvmd.spares(), "there is no spare")
        before = self.qvmd.descriptors()
        for how in ("close", "half"):
            client = self.qvmd.client()
            client.request("guest.wait", name="a", state="running")
            client.call("guest.list")
            self.eventually(lambda: self.qvmd.descriptors() == before + 1, "it is not held")
            if how == "half":
                client.socket.shutdown(socket.SHUT_WR)
                time.sleep(0.1)
                self.assertEqual(self.qvmd.descriptors(), before + 1)
            client.close()
            self.eventually(lambda: self.qvmd.descriptors() == before, "the client stays")

    # ---- documents ----

    def test_discover_lists_every_method(self):
        document = self.qvmd.call("rpc.discover")
        self.assertEqual(document["openrpc"], "1.2.6")
        self.assertIn("guest.start", [method["name"] for method in document["methods"]])

    def test_info_says_what_there_is(self):
        info = self.qvmd.call("host.info")
        self.assertEqual(info["pid"], self.qvmd.process.pid)
        self.assertEqual(info["socket"], self.qvmd.socket)
        self.assertEqual(info["kvm"], "ok")
        self.assertEqual({pool["kind"] for pool in info["pools"]}, {"memory", "cpu"})
        self.assertNotIn("degraded", info)


class LimitTest(QvmdTest):
    settings = ("connections 8", "user-connections 4", "guests 2")

    def test_one_user_has_so_many_connections_and_the_next_is_turned_away(self):
        clients = [self.qvmd.client() for _ in range(4)]
        for client in clients:
            client.call("guest.list")
        with self.qvmd.client() as late:
            self.assertEqual(late.line()["error"]["data"]["name"], "too-many")
            self.assertIsNone(late.line())
        clients.pop().close()
        self.eventually(lambda: "guests" in self.try_list(), "no room after one left")
        for client in clients:
            client.close()

    def try_list(self):
        try:
            return self.qvmd.call("guest.list")
        except (Refused, EOFError, OSError, KeyError):
            return {}

    def test_so_many_guests_may_be_defined_and_no_more(self):
        for name in ("a", "b"):
            self.qvmd.call("guest.define", name=name, definition=bare(name))
        self.refused("too-many", "guest.define", name="c", definition=bare("c"))
        self.qvmd.call("guest.undefine", name="a")
        self.qvmd.call("guest.define", name="c", definition=bare("c"))


def converse(path, requests):
    """One after the other; the names of the errors, or `ok`."""
    answers = []
    with Client(path, timeout=20) as client:
        for request in requests:
            client.send(request.encode() + b"\n")
            line = client.line()
            answers.append(line["error"]["data"]["name"] if "error" in line else "ok")
    return answers


def as_user(uid, groups, task):
    """What `task` returns when somebody else runs it."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([grp.getgrnam(name).gr_gid for name in groups])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            text = json.dumps(task())
        except BaseException as error:  # pylint: disable=broad-except
            text = json.dumps(repr(error))
        os.write(write_fd, text.encode())
        os._exit(0)
    os.close(write_fd)
    with os.fdopen(read_fd) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return json.loads(text)


class SeveralUsersTest(QvmdTest):
    settings = (f"viewer-group {VIEWERS}", f"operator-group {OPERATORS}",
                f"admin-group {ADMINS}")

    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("only root can be others")
        super().setUp()

    def ask(self, uid, groups, *requests):
        """Call as somebody else; each request is (method, params)."""
        lines = [json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
                 for number, (method, params) in enumerate(requests)]
        return as_user(uid, groups, lambda: converse(self.qvmd.socket, lines))



class RoleTest(SeveralUsersTest):
    def test_a_stranger_is_refused_politely(self):
        self.assertEqual(self.ask(NOBODY, [], ("guest.list", {}), ("host.info", {})),
                         ["not-permitted", "not-permitted"])
        self.assertIn("audit: refused method=guest.list guest= uid=65534", self.qvmd.log())

    def test_a_stranger_s_message_is_short(self):
        self.assertEqual(self.ask(NOBODY, [], ("guest.list", {"names": ["x" * 70000]})),
                         ["too-big"])

    def test_a_viewer_looks_and_touches_nothing(self):
        self.start("a")
        self.assertEqual(
            self.ask(NOBODY, [VIEWERS], ("guest.list", {}), ("guest.show", {"name": "a"}),
                     ("events.list", {}), ("guest.kill", {"name": "a"}),
                     ("console.attach", {"name": "a"}), ("console.read", {"name": "a"}),
                     ("guest.define", {"name": "b", "definition": bare("b")})),
            ["ok"] * 3 + ["not-permitted"] * 4)
        self.assertEqual(self.qvmd.guest("a")["state"], "running")

    def test_an_operator_acts_on_guests_of_his_own(self):
        self.start("a")
        image = shutil.copy(IMAGE, self.qvmd.top)  # the tree may lie where only root may go
        mine = {"name": "b", "definition": bare("b", image=image)}
        self.assertEqual(
            self.ask(NOBODY, [OPERATORS], ("guest.kill", {"name": "a"}),
                     ("console.write", {"name": "a", "data": "eA=="}),
                     ("guest.start", {"name": "a", "definition": bare("a")}),
                     ("guest.start", mine), ("guest.kill", {"name": "b"})),
            ["not-permitted", "not-permitted", "exists", "ok", "ok"])
        self.assertEqual(self.ask(NOBODY - 1, [OPERATORS], ("guest.undefine", {"name": "b"}),
                                  ("guest.define", mine)), ["not-permitted", "exists"])
        self.assertEqual(self.qvmd.guest("b")["owner_uid"], NOBODY)
        self.qvmd.call("guest.undefine", name="b")

    def test_every_method_is_open_to_its_role_and_to_nobody_below(self):
        """By the list that the daemon itself hands out: a new method is tried, too."""
        methods = self.qvmd.call("rpc.discover")["methods"]
        roles = ["stranger", "viewer", "operator", "admin"]
        for user, groups, rank in ((NOBODY, [], 0), (NOBODY - 1, [VIEWERS], 1),
                                   (NOBODY - 2, [OPERATORS], 2), (NOBODY - 3, [ADMINS], 3)):
            calls = [(method["name"], {"name": "no.such.guest"}) for method in methods]
            answers = self.ask(user, groups, *calls)
            for method, answer in zip(methods, answers):
                needed = roles.index(method["x-role"])
                with self.subTest(user=roles[rank], method=method["name"]):
                    self.assertEqual(answer == "not-permitted", rank < needed, answer)

    def test_a_viewer_s_words_carry_no_path_and_no_descriptor(self):
        methods = self.qvmd.call("rpc.discover")["methods"]
        for method in methods:
            if method["x-role"] == "viewer":
                for param in method["params"]:
                    self.assertNotRegex(param["name"], "path|file|definition|source|words")

    def test_the_environment_s_values_are_for_owner_and_admin(self):
        mine = definition('system b\nram $env{HOW_MUCH}\nload /nowhere\n')
        mine["env"] = [{"name": "HOW_MUCH", "value": "16M"}]
        self.assertEqual(self.ask(NOBODY, [OPERATORS],
                                  ("guest.define", {"name": "b", "definition": mine})), ["ok"])
        self.assertEqual(self.shown_value(NOBODY, [OPERATORS]), "16M")
        self.assertEqual(self.shown_value(NOBODY - 1, [ADMINS]), "16M")
        self.assertEqual(self.shown_value(NOBODY - 1, [OPERATORS]), "")
        self.assertEqual(self.shown_value(NOBODY - 1, [VIEWERS]), "")

    def shown_value(self, uid, groups):
        def look():
            with Client(self.qvmd.socket) as client:
                return client.call("guest.show", name="b")["definition"]["env"][0]["value"]
        return as_user(uid, groups, look)

    def test_every_change_and_every_refusal_is_in_the_audit_log(self):
        self.ask(NOBODY, [OPERATORS], ("guest.define", {"name": "b", "definition": bare("b")}),
                 ("guest.list", {}), ("guest.undefine", {"name": "none"}))
        self.ask(NOBODY - 1, [OPERATORS], ("guest.kill", {"name": "b"}))
        self.ask(NOBODY - 2, [VIEWERS], ("guest.undefine", {"name": "b"}), ("guest.show", {}),
                 ("guest.fly", {}))
        self.ask(NOBODY - 3, [], ("guest.list", {}))
        records = self.qvmd.call("host.audit")["records"]
        self.assertEqual(
            [(one["uid"], one["role"], one["method"], one.get("guest"), one["result"])
             for one in records],
            [(NOBODY, "operator", "guest.define", "b", "ok"),
             (NOBODY, "operator", "guest.undefine", "none", "no-such-guest"),
             (NOBODY - 1, "operator", "guest.kill", "b", "not-permitted"),
             (NOBODY - 2, "viewer", "guest.undefine", "b", "not-permitted"),
             (NOBODY - 2, "viewer", "?", None, "no-such-method"),
             (NOBODY - 3, "nobody", "guest.list", None, "not-permitted")])
        self.qvmd.restart()
        self.assertEqual(self.qvmd.call("host.audit", limit=1)["records"], records[-1:])
        path = os.path.join(self.qvmd.home, "log", "audit.jsonl")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)

    def test_a_flood_of_refusals_is_counted_and_not_written(self):
        self.ask(NOBODY, [], *[("guest.list", {})] * 500)
        records = self.qvmd.call("host.audit")["records"]
        self.assertGreaterEqual(len(records), 100)
        self.assertLess(len(records), 400)

    def test_calls_that_a_user_leaves_behind_are_bounded(self):
        image = shutil.copy(IMAGE, self.qvmd.top)
        deaf = {"name": "b", "definition": bare("b", run="hang", image=image)}
        self.assertEqual(self.ask(NOBODY, [OPERATORS], ("guest.start", deaf)), ["ok"])
        self.assert_console("b", "deaf")
        time.sleep(0.2)
        left = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "guest.stop",
                           "params": {"name": "b", "timeout_ms": 86400000}}).encode() + b"\n"

        def leave():
            with Client(self.qvmd.socket) as client:
                client.send(left * REPLIES_MAX)
                client.request("guest.list")  # one more is refused: all of them were read
                client.line()
            return "left"

        for _ in range(ORPHANS_MAX // REPLIES_MAX):
            self.assertEqual(self.ask(NOBODY, [OPERATORS], ("guest.list", {})), ["ok"])
            self.assertEqual(as_user(NOBODY, [OPERATORS], leave), "left")
        self.eventually(lambda: self.ask(NOBODY, [OPERATORS], ("guest.list", {})) == ["too-many"],
                        "what was left has no bound")
        self.assertEqual(self.ask(NOBODY - 1, [OPERATORS], ("guest.list", {})), ["ok"])
        self.qvmd.call("guest.kill", name="b")
        self.assertEqual(self.ask(NOBODY, [OPERATORS], ("guest.list", {})), ["ok"])

    def test_files_are_opened_as_the_owner(self):
        path = os.path.join(self.qvmd.top, "secret")
        with open(path, "w", encoding="utf-8") as file:
            file.write("x" * 4096)
        os.chmod(path, 0o600)
        text = f"system b\nram 16M\nload {path}\n"
        self.assertEqual(self.ask(NOBODY, [OPERATORS],
                                  ("guest.start", {"name": "b", "definition": definition(text)})),
                         ["access-denied"])
        self.assertRegex(self.qvmd.guest("b")["message"], r"^t\.qvmconf:3: .*secret")


class QuotaTest(SeveralUsersTest):
    settings = SeveralUsersTest.settings + ("quota * max-guests 2 max-vcpus 2 max-memory 40M",
                                    f"quota {NOBODY - 1} max-guests 3")

    def setUp(self):
        super().setUp()
        self.image = shutil.copy(IMAGE, self.qvmd.top)

    def starting(self, name, ram="16M"):
        return "guest.start", {"name": name, "definition": bare(name, ram=ram, image=self.image)}

    def test_a_user_s_guests_share_his_quota(self):
        self.assertEqual(self.ask(NOBODY, [OPERATORS], self.starting("a"), self.starting("b", "32M"),
                                  self.starting("b", "24M"), self.starting("c")),
                         ["ok", "insufficient", "ok", "insufficient"])
        self.assertRegex(self.qvmd.events(guest="b")[2]["message"],
                         r"^b\.qvmconf:2: the quota of each user is 40 MiB of memory: 32 MiB are "
                         "asked for, and the owner's guests have 16 MiB")
        quotas = self.qvmd.call("host.info")["quotas"]
        self.assertEqual(quotas, [{"uid": NOBODY, "guests": 2, "guests_max": 2, "vcpus": 2,
                                   "vcpus_max": 2, "memory": 40 << 20, "memory_max": 40 << 20}])

    def test_one_user_s_quota_is_not_another_s(self):
        self.assertEqual(self.ask(NOBODY - 1, [OPERATORS], self.starting("a", "32M"),
                                  self.starting("b", "32M"), self.starting("c"),
                                  self.starting("d")), ["ok", "ok", "ok", "insufficient"])
        self.assertEqual(self.ask(NOBODY, [OPERATORS], self.starting("e", "40M")), ["ok"])
        self.start("f", ram="64M")  # root has none
        self.start("g", ram="64M")
        self.start("h", ram="64M")

    def test_the_owner_s_quota_counts_whoever_starts_his_guest(self):
        wanted = {"definition": bare("b", ram="32M", image=self.image), "name": "b"}
        self.assertEqual(self.ask(NOBODY, [OPERATORS], self.starting("a"),
                                  ("guest.define", wanted)), ["ok", "ok"])
        self.assertIn("quota", self.refused("insufficient", "guest.start", name="b"))
        self.qvmd.call("guest.kill", name="a")
        self.qvmd.call("guest.start", name="b")


class SocketTest(QvmdTest):
    def test_without_groups_nobody_else_can_even_connect(self):
        self.assertEqual(os.stat(self.qvmd.socket).st_mode & 0o777, 0o600)

    def test_a_second_qvmd_on_the_same_store_is_refused_and_the_first_goes_on(self):
        first = self.qvmd.process
        with self.assertRaises(RuntimeError) as caught:
            self.qvmd.start()
        self.assertIn(f"{first.pid}", str(caught.exception))
        self.qvmd.process = first
        self.assertEqual(self.qvmd.guests(), {})

    def test_sigterm_ends_it_cleanly_and_the_socket_goes(self):
        self.start("a")
        with self.qvmd.client() as client:
            number = client.request("guest.wait", name="a", state="stopped")
            client.call("guest.list")
            self.assertEqual(self.qvmd.stop(), 0)
            with self.assertRaises(Refused) as caught:
                client.answer(number)
            self.assertEqual(caught.exception.name, "cancelled")
        self.assertFalse(os.path.exists(self.qvmd.socket))
        self.assertEqual(len(self.qvmd.workers()), 1)
        self.qvmd.start()


if __name__ == "__main__":
    main()
