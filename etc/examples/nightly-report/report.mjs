// A report on the guests of qvmd for the mail of the night: who does what, what failed since
// yesterday and why, and what is left of the host.
//
//   npm install && node report.mjs [SOCKET] | mail -s guests root
//
// Status 0: no guest is failed; 1: some are. The API is described in qvm-api(7); json-rpc-2.0 from
// npm is a client that knows nothing of qvm.
import net from "node:net";
import process from "node:process";
import readline from "node:readline";
import { JSONRPCClient } from "json-rpc-2.0";

const path = process.argv[2] ?? process.env.QVM_SOCKET ?? "/run/qvm/qvmd.sock";
const DAY_MS = 24 * 3600 * 1000;

function connect() {
  return new Promise((resolve, reject) => {
    const socket = net.createConnection(path);
    const client = new JSONRPCClient((message) => {
      socket.write(JSON.stringify(message) + "\n");
    });
    readline.createInterface({ input: socket }).on("line", (line) => {
      client.receive(JSON.parse(line));
    });
    socket.once("connect", () => {
      resolve({ call: (method, params = {}) => client.timeout(10000).request(method, params), socket });
    });
    socket.once("error", reject);
    socket.once("close", () => client.rejectAllPendingRequests("qvmd ended the connection"));
  });
}

const unit = (kind, amount) => (kind === "memory" ? `${Math.round(amount / 2 ** 20)} MiB` : amount);

function countStates(guests) {
  const counts = new Map();
  for (const { state } of guests) {
    counts.set(state, (counts.get(state) ?? 0) + 1);
  }
  return [...counts].map(([state, count]) => `${count} ${state}`).join(", ") || "none";
}

function* lines(info, guests, events) {
  const since = Date.now() - DAY_MS;
  const failures = events.filter(
    (event) => event.state === "failed" && Date.parse(event.time) >= since,
  );

  yield `qvmd ${info.version}, pid ${info.pid}, since ${info.started}`;
  if (info.degraded !== undefined) {
    yield `DEGRADED: ${info.degraded}`;
  }
  yield `guests: ${countStates(guests)}`;
  for (const { kind, id, total, claimed } of info.pools ?? []) {
    const left = unit(kind, total - claimed);
    yield `${kind} ${id}: ${unit(kind, claimed)} of ${unit(kind, total)} are given out, ${left} left`;
  }
  yield `failed in the last 24 hours: ${failures.length}`;
  for (const { time, guest, reason, message } of failures) {
    yield `  ${time} ${guest}: ${reason}${message === undefined ? "" : `: ${message}`}`;
  }
}

const { call, socket } = await connect();
try {
  const [info, { guests = [] }, { events = [] }] = await Promise.all([
    call("host.info"),
    call("guest.list"),
    call("events.list"),
  ]);
  for (const line of lines(info, guests, events)) {
    console.log(line);
  }
  process.exitCode = guests.some(({ state }) => state === "failed") ? 1 : 0;
} finally {
  socket.destroy();
}
