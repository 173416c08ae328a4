// Drives the API with a JSON-RPC 2.0 client that is not ours, over the Unix socket, one message a
// line. Usage: node client.mjs SOCKET. Prints one line for each thing that held; status 1 if one
// did not.
import assert from "node:assert/strict";
import net from "node:net";
import readline from "node:readline";
import { JSONRPCClient, JSONRPCErrorException } from "json-rpc-2.0";

const socket = net.createConnection(process.argv[2]);
const notifications = [];
const arrived = [];
const client = new JSONRPCClient((message) => {
  socket.write(JSON.stringify(message) + "\n");
});
readline.createInterface({ input: socket }).on("line", (line) => {
  const message = JSON.parse(line);
  if (message.method !== undefined) {
    notifications.push(message);
    arrived.forEach((wake) => wake());
  } else {
    client.receive(message);
  }
});

const call = (method, params = {}) => client.timeout(10000).request(method, params);
const definition = (text) => ({
  words: ["@0"],
  sources: [{ name: "npm.qvmconf", directory: "/", text }],
});

async function refused(name, code, method, params) {
  const error = await call(method, params).then(
    () => assert.fail(`${method} was not refused`),
    (reason) => reason,
  );
  assert.ok(error instanceof JSONRPCErrorException, String(error));
  assert.equal(error.data?.name, name, error.message);
  assert.equal(error.code, code);
  assert.ok(error.message.length > 5);
}

// The notification `event` for which `fits` holds, now or when it comes.
function event(fits) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("the event did not come")), 10000);
    const look = () => {
      const found = notifications.find((n) => n.method === "event" && fits(n.params));
      if (found !== undefined) {
        clearTimeout(timer);
        resolve(found.params);
      }
    };
    arrived.push(look);
    look();
  });
}

const cases = {
  async "info tells the daemon and its host"() {
    const info = await call("host.info");
    assert.equal(info.socket, process.argv[2]);
    assert.ok(info.pid > 0 && info.version.length > 0);
    assert.ok(Array.isArray(info.pools));
  },
  async "the OpenRPC document names every method that is used here"() {
    const document = await call("rpc.discover");
    const names = document.methods.map((method) => method.name);
    for (const name of ["host.info", "guest.list", "guest.define", "events.subscribe"]) {
      assert.ok(names.includes(name), name);
    }
  },
  async "a guest is defined, listed, shown and forgotten"() {
    const { guest } = await call("guest.define", {
      name: "npm",
      definition: definition("system npm\nram 64M\n"),
    });
    assert.equal(guest.name, "npm");
    assert.equal(guest.state, "defined");
    const listed = (await call("guest.list", { names: ["npm"] })).guests;
    assert.deepEqual(listed, [guest]);
    const shown = await call("guest.show", { name: "npm" });
    assert.equal(shown.definition.sources[0].text, "system npm\nram 64M\n");
    await call("guest.undefine", { name: "npm" });
    const left = (await call("guest.list")).guests ?? [];
    assert.ok(!left.some((one) => one.name === "npm"));
  },
  async "subscribers are told, and every number comes once"() {
    const before = (await call("events.subscribe", { limit: 1 })).last ?? 0;
    await call("guest.define", { name: "npm2", definition: definition("system npm2\nram 64M\n") });
    await call("guest.undefine", { name: "npm2" });
    const gone = await event((one) => one.what === "undefined" && one.guest === "npm2");
    const numbers = notifications.map((n) => n.params.seq);
    assert.deepEqual(
      numbers,
      Array.from({ length: gone.seq - before }, (_, i) => before + 1 + i),
    );
  },
  async "answers find their requests whatever their order"() {
    const waiting = call("guest.wait", { name: "npm3", state: "defined", timeout_ms: 5000 }).catch(
      (reason) => reason,
    );
    const lists = await Promise.all(Array.from({ length: 50 }, () => call("guest.list")));
    assert.equal(lists.length, 50);
    await waiting;
  },
  async "what is wrong is refused by name and code"() {
    await refused("no-such-method", -32601, "guest.fly", {});
    await refused("invalid-params", -32602, "guest.show", {});
    await refused("invalid-params", -32602, "guest.show", { name: "npm", mood: "happy" });
    await refused("invalid-params", -32602, "guest.show", { name: 3 });
    await refused("invalid-params", -32602, "guest.show", { name: "no spaces" });
    await refused("no-such-guest", -32002, "guest.show", { name: "nobody" });
    await refused("no-such-guest", -32002, "guest.start", { name: "nobody" });
    await refused("invalid-params", -32602, "guest.define", {
      name: "npm",
      definition: { ...definition(""), words: ["x".repeat(4096)] },
    });
  },
};

let failed = 0;
for (const [name, run] of Object.entries(cases)) {
  try {
    await run();
    console.log(`ok: ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAILED: ${name}: ${error.stack}`);
  }
}
socket.destroy(); // a subscription lasts until then
process.exitCode = failed === 0 ? 0 : 1;
