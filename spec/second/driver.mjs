// The machine of the client behind the driver protocol of conformance.md: requests on standard input, replies on output.

import { CODES } from "./codes.mjs";
import { encode } from "./encode.mjs";
import { Machine, Refusal } from "./machine.mjs";
import { BYTES, CALL, CHANNEL, FUNCTION, ITEMS, PROMISE } from "./streams.mjs";
import { nodeOf, plainOf, splitItems } from "./plain.mjs";

const KINDS = { call: CALL, promise: PROMISE, items: ITEMS, bytes: BYTES, function: FUNCTION, channel: CHANNEL };
const INFO = { name: "telewire in JavaScript", roles: ["client"], needs: [], declines: ["channel"], carrier: "memory" };

class Unsupported extends Error {}

class Driver {
  start({ role, limits = {}, resume = false, exchange = false }) {
    if (role !== "client" || resume || exchange) throw new Unsupported("This is a client without sessions and exchanges.");
    this.now = 0;
    this.names = new Map();
    this.waiting = new Map(); // stream → commands of its producer, which waits
    this.numbers = 1000;
    this.machine = new Machine(limits, 0);
    return this.react();
  }

  receive({ batch }) {
    this.machine.receive(batch, this.now);
    return this.react();
  }

  advance({ seconds }) {
    const end = this.now + seconds;
    const whole = { sent: [], events: [], closed: false };
    for (;;) {
      const due = this.machine.nextTimeout();
      const more = due !== null && due <= end;
      this.now = more ? Math.max(this.now, due) : end;
      this.machine.now = this.now;
      if (more) this.machine.handleTimeout(this.now);
      const part = this.react();
      whole.sent.push(...part.sent);
      whole.events.push(...part.events);
      whole.closed = part.closed;
      if (!more) return whole;
    }
  }

  cut() {
    this.machine.lost();
    return this.react();
  }

  do({ commands }) {
    const refused = [];
    for (const { command, ...fields } of commands) {
      try {
        this.command(command, fields);
      } catch (refusal) {
        if (!(refusal instanceof Refusal)) throw refusal;
        refused.push({ event: "refused", command, code: refusal.code });
      }
    }
    const { sent, events, closed } = this.react();
    return { sent, events: [...refused, ...events], closed };
  }

  command(command, fields) {
    const { machine } = this;
    const { code = 0, payload = new Uint8Array(), declare = [], text = "" } = fields;
    if (command === "call") return this.call(fields, payload, declare);
    if (command === "close") return machine.close(code, text);
    if (command === "go_away" || command === "drain") throw new Unsupported("This client does not drain.");
    const stream = this.stream(fields.stream);
    const producing = ["item", "chunk", "end", "reject"].includes(command);
    const data = command === "item" || command === "chunk";
    const full = stream.send && !stream.send.ended && !stream.send.writable;
    if (producing && !fields.now && (this.waiting.has(stream) || (data && full))) {
      this.waiting.set(stream, [...(this.waiting.get(stream) ?? []), [command, fields]]);
      return undefined;
    }
    switch (command) {
      case "resolve":
      case "end":
        this.name(machine.resolve(stream, payload, this.declared(declare)), declare);
        break;
      case "reject":
        machine.reject(stream, code, payload);
        break;
      case "item":
        return this.name(machine.item(stream, payload, this.declared(declare)), declare);
      case "chunk":
        return machine.chunk(stream, payload);
      case "consume":
        return machine.consume(stream, fields.units ?? 1);
      case "finish":
        return machine.finish(stream);
      case "stop":
        return machine.stop(stream, code, payload);
      case "reset":
        this.waiting.delete(stream);
        return machine.reset(stream, code, payload);
      default:
        throw new Unsupported(`the command ${command}`);
    }
    if (stream.kind === CALL && !fields.running) machine.finish(stream);
    return undefined;
  }

  call(fields, payload, declare) {
    const known = this.names.has(fields.target) || typeof fields.target !== "string";
    const target = known ? this.stream(fields.target) : fields.target;
    const { deadline, lifetime, metadata } = fields;
    const call = this.machine.call(target, payload, this.declared(declare), { deadline, lifetime, metadata });
    call.app = fields.as ?? "call";
    this.names.set(call.app, call);
    this.name(call.declared, declare);
  }

  declared(declare) {
    return declare.map(([kind, , number]) => {
      if (kind === "channel") throw new Unsupported("This client declares no channels.");
      return [KINDS[kind], number ?? (kind === "function" ? this.numbers++ : undefined)];
    });
  }

  name(streams, declare) {
    streams.forEach((stream, i) => {
      stream.app = declare[i][1];
      this.names.set(stream.app, stream);
    });
  }

  stream(name) {
    const stream = this.names.get(name);
    if (!stream) throw new Error(`There is no stream ${name}.`);
    return stream;
  }

  meet(stream) {
    if (stream.mine) return stream.app;
    this.names.set(stream.key, stream);
    return stream.key;
  }

  // Lets producers write that waited.
  goOn() {
    for (const [stream, commands] of [...this.waiting]) {
      this.waiting.delete(stream);
      if (stream.ended || stream.over || stream.send.ended) continue;
      while (commands.length && stream.send.writable) this.command(...commands.shift());
      if (commands.length) this.waiting.set(stream, commands);
    }
  }

  react() {
    const { machine } = this;
    const sent = [];
    const events = [];
    for (;;) {
      this.goOn();
      const batches = machine.pull();
      const heard = machine.events.splice(0);
      if (!batches.length && !heard.length) break;
      sent.push(...batches);
      events.push(...heard.flatMap((event) => this.tell(event)));
    }
    return { sent, events, closed: machine.state === "closed" };
  }

  tell({ event, stream, declared, target, ...rest }) {
    const told = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
    if (event === "items") return this.items(stream, told);
    if (stream) told.stream = this.meet(stream);
    if (target !== undefined) told.target = typeof target === "string" ? target : this.meet(target);
    if (declared) told.declared = declared.map((each) => this.meet(each));
    return [{ event, ...told }];
  }

  // Each item by itself; a group that is none is what its reader makes of it (TW-ERR-031).
  items(stream, { payload, count }) {
    const items = splitItems(payload, count, this.machine.limits.nesting);
    if (items === null) {
      this.machine.stop(stream, CODES.MALFORMED_VALUE);
      return [];
    }
    return items.map((item) => ({ event: "item", stream: this.meet(stream), payload: item }));
  }
}

function answer(driver, { request, ...fields }) {
  if (request === "info") return INFO;
  if (!["start", "receive", "advance", "cut", "do"].includes(request)) return { unsupported: `the request ${request}` };
  try {
    return driver[request](fields);
  } catch (reason) {
    if (!(reason instanceof Unsupported)) throw reason;
    return { unsupported: reason.message };
  }
}

const driver = new Driver();
let waiting = Buffer.alloc(0);
for await (const piece of process.stdin) {
  waiting = Buffer.concat([waiting, piece]);
  while (waiting.length >= 4 && waiting.length >= 4 + waiting.readUInt32BE(0)) {
    const end = 4 + waiting.readUInt32BE(0);
    const reply = encode(answer(driver, plainOf(nodeOf(Uint8Array.from(waiting.subarray(4, end))))));
    waiting = waiting.subarray(end);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(reply.length);
    process.stdout.write(Buffer.concat([length, reply]));
  }
}
