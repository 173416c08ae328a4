"""What the tests of starts in order and of drains have in common."""

from qvmtest import QvmdTest, bare


class OrderTest(QvmdTest):
    settings = ("start-stagger 20ms", "restart-backoff 1h 1h")

    def tearDown(self):
        self.assert_invariants()

    def define(self, name, run="", **settings):
        self.qvmd.call("guest.define", name=name, definition=bare(name, run=run))
        settings.setdefault("enabled", "yes")
        self.set(name, **settings)

    def set(self, name, **settings):
        self.qvmd.call("guest.set", name=name, values=[
            {"name": key, "value": value} for key, value in settings.items()])

    def start_enabled(self, **params):
        return self.outcomes("host.start_enabled", **params)

    def drain(self, **params):
        return self.outcomes("host.drain", **params)

    def outcomes(self, method, **params):
        return {one["name"]: one for one in self.qvmd.call(method, **params)["outcomes"]}

    def moves(self, *states):
        """Who came into one of these states, in that order."""
        return [event["guest"] for event in self.qvmd.events()
                if event["what"] == "state" and event["state"] in states]

    def prompt(self, *names):
        for name in names:
            self.assert_console(name, "> ")

    def states(self):
        return {name: guest["state"] for name, guest in self.qvmd.guests().items()}

    def chain(self):
        """web after db after net, by names that sort the other way round."""
        self.define("z-net")
        self.define("y-db", after="z-net")
        self.define("x-web", after="y-db,z-net")
