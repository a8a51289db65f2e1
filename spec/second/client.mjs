// A client of telewire over WebSocket: calls, errors, promises, generators, bytes, callbacks and cancelling.
//
//   const client = await connect("ws://127.0.0.1:8000/telewire");
//   await client.call("add", 1, 2);                              // a value, or a RemoteError
//   for await (const item of await client.call("count", 3));     // a generator, with credit as it is read
//   await client.call("invoke", (value) => value + 1, 41);       // a function is a callback
//   const call = client.call("forever"); call.cancel();          // rejects with what became of it
//   client.close();

import { randomUUID } from "node:crypto";
import { CODES, NAMES } from "./codes.mjs";
import { Raw, Tag, encode } from "./encode.mjs";
import { Machine } from "./machine.mjs";
import { nodeOf, plainOf, splitItems } from "./plain.mjs";
import { BYTES, FUNCTION, ITEMS, PROMISE } from "./streams.mjs";
import { decodeValue } from "./values.mjs";
import { openWebSocket } from "./websocket.mjs";

const REFERENCE = 60000;
const CLEANUP_SECONDS = 5;

// What the other side answered, or why there is no answer; `value` is what ABORTED and CANCELLED carry.
export class RemoteError extends Error {
  constructor(code, value = null) {
    super(`The call failed: ${NAMES[code] ?? code}.`);
    this.code = code;
    this.name = NAMES[code] ?? String(code);
    this.value = value;
  }
}

// Thrown by a callback, its value crosses whole (TW-ERR-040).
export class Abort extends Error {
  constructor(value) {
    super("aborted");
    this.value = value;
  }
}

export async function connect(url, { limits = {}, functions = {} } = {}) {
  const client = new Client(limits, functions);
  await client.open(url);
  return client;
}

class Client {
  constructor(limits, functions) {
    this.machine = new Machine(limits, clock());
    this.functions = functions;
    this.numbers = new Map(); // function → its number (TW-MOD-043)
    this.calls = new Map(); // → {resolve, reject}
    this.readers = new Map(); // stream → Reader or {resolve, reject}
    this.bodies = new Map(); // call of the peer → AbortController
    this.writers = []; // who waits for room
    this.closed = new Promise((resolve) => (this.over = resolve));
  }

  async open(url) {
    const { machine } = this;
    const opened = new Promise((resolve, reject) => (this.opened = { resolve, reject }));
    const handlers = {
      batch: (bytes) => this.move(() => machine.receive(bytes, clock())),
      alive: () => machine.alive(clock()),
      broken: (name) => this.move(() => machine.violate(name)),
      lost: () => this.move(() => machine.lost()),
    };
    this.transport = await openWebSocket(url, handlers, machine.limits.batch_bytes);
    machine.began = machine.heard = machine.now = clock();
    this.flush();
    await opened;
  }

  // A promise of the result, with cancel(reason) beside it.
  call(target, ...args) {
    return this.start(target, args, {});
  }

  // `options`: named (an object), deadline and lifetime (seconds), metadata (an object of texts).
  start(target, args, { named = {}, ...options }) {
    const { payload, declare, begin } = this.pack([args, named]);
    let call;
    const result = new Promise((resolve, reject) => {
      this.move(() => {
        call = this.machine.call(target, payload, declare, options);
        begin(call.declared);
        this.calls.set(call, { resolve, reject });
      });
    });
    result.cancel = (reason) =>
      this.move(() => this.machine.stop(call, CODES.CANCELLED, reason === undefined ? undefined : encode(reason)));
    return result;
  }

  close() {
    this.move(() => this.machine.close());
    return this.closed;
  }

  // ---- inside ---------------------------------------------------------------------------------------

  move(step) {
    this.machine.now = clock();
    try {
      return step();
    } finally {
      this.flush();
    }
  }

  flush() {
    const { machine } = this;
    if (!this.transport) return; // what came with the handshake waits
    for (;;) {
      const batches = machine.pull();
      const events = machine.events.splice(0);
      if (!batches.length && !events.length) break;
      for (const batch of batches) this.transport.send(batch);
      for (const event of events) this[`on_${event.event}`](event);
    }
    for (const wake of this.writers.splice(0)) wake();
    clearTimeout(this.timer);
    const due = machine.nextTimeout();
    if (due === null) this.transport.close();
    else this.timer = setTimeout(() => this.move(() => machine.handleTimeout(clock())), Math.max(0, due - clock()) * 1000);
  }

  on_open() {
    this.opened.resolve();
  }

  on_closed({ code }) {
    this.opened.reject(new RemoteError(code));
    this.over(code);
  }

  on_going_away() {} // calls at or above the number fail locally

  on_over({ stream }) {
    this.calls.delete(stream);
    this.bodies.get(stream)?.abort();
  }

  on_resolved({ stream, payload, declared }) {
    const { resolve, reject } = this.calls.get(stream);
    try {
      resolve(this.unpack(payload, declared));
    } catch (error) {
      this.machine.stop(stream, CODES.MALFORMED_VALUE);
      reject(error);
    }
  }

  on_rejected({ stream, code, payload }) {
    this.calls.get(stream)?.reject(new RemoteError(code, reason(payload)));
    this.calls.delete(stream);
  }

  on_call({ stream, target, payload, declared }) {
    const body = typeof target === "string" ? Object.hasOwn(this.functions, target) && this.functions[target] : target.app;
    if (!body) {
      for (const each of declared) this.machine.stop(each);
      return this.answer(stream, () => this.machine.reject(stream, CODES.FUNCTION_NOT_FOUND));
    }
    let args;
    try {
      [args] = this.unpack(payload, declared);
    } catch {
      return this.answer(stream, () => this.machine.reject(stream, CODES.MALFORMED_VALUE));
    }
    const controller = new AbortController();
    this.bodies.set(stream, controller);
    Promise.resolve()
      .then(() => body.apply({ signal: controller.signal }, args))
      .then((value) => this.pack(value))
      .then(
        ({ payload: result, declare, begin }) => this.answer(stream, () => begin(this.machine.resolve(stream, result, declare))),
        (error) => this.answer(stream, () => this.failed(stream, error)),
      );
    return undefined;
  }

  failed(stream, error) {
    if (error instanceof Abort) this.machine.reject(stream, CODES.ABORTED, encode(error.value));
    else if (stream.stopped) this.machine.reject(stream, CODES.STOPPED);
    else this.machine.reject(stream, CODES.INTERNAL, encode(randomUUID()));
  }

  // The function has ended; its answer leaves unless there is one, or nobody to hear it.
  answer(stream, give) {
    this.bodies.delete(stream);
    this.move(() => {
      if (!stream.over && !stream.send.ended && this.machine.state === "open") give();
      this.machine.finish(stream);
    });
  }

  on_stopped({ stream }) {
    const controller = this.bodies.get(stream);
    if (!controller) return; // a stream of ours: its writer finds out
    controller.abort();
    const late = () => {
      if (this.bodies.has(stream) && !stream.over) this.move(() => this.machine.reject(stream, CODES.OUTCOME_UNKNOWN));
    };
    setTimeout(late, CLEANUP_SECONDS * 1000).unref();
  }

  on_item({ stream, payload, declared }) {
    try {
      this.readers.get(stream)?.put(this.unpack(payload, declared), 1);
    } catch (error) {
      this.give_up(stream, error);
    }
  }

  on_items({ stream, payload, count }) {
    const items = splitItems(payload, count, this.machine.limits.nesting);
    try {
      if (items === null) throw new RemoteError(CODES.MALFORMED_VALUE);
      for (const value of items.map((item) => this.unpack(item, []))) this.readers.get(stream)?.put(value, 1);
    } catch (error) {
      this.give_up(stream, error);
    }
  }

  on_chunk({ stream, payload }) {
    this.readers.get(stream)?.put(payload, payload.length);
  }

  on_ended({ stream, payload, declared }) {
    const reader = this.readers.get(stream);
    this.readers.delete(stream);
    try {
      reader?.resolve(stream.kind === BYTES ? undefined : this.unpack(payload, declared));
    } catch (error) {
      reader?.reject(error);
    }
  }

  on_failed({ stream, code, payload }) {
    this.readers.get(stream)?.reject(new RemoteError(code, reason(payload)));
    this.readers.delete(stream);
  }

  on_reset(event) {
    this.on_failed(event);
  }

  give_up(stream, error) {
    this.machine.stop(stream, CODES.MALFORMED_VALUE);
    this.readers.get(stream)?.reject(error);
    this.readers.delete(stream);
  }

  // ---- values ---------------------------------------------------------------------------------------

  // A value of ours: its payload, what it declares, and begin(streams), which starts what gives their data.
  pack(value) {
    const declare = [];
    const sources = [];
    const places = new Map();
    const refer = (source, kind, number) => {
      if (!places.has(source)) {
        places.set(source, declare.push([kind, number]) - 1);
        sources.push(source);
      }
      return new Tag(REFERENCE, places.get(source));
    };
    const nesting = Math.min(64, this.machine.peer.nesting);
    const walk = (part, depth) => {
      if (depth > nesting) throw new TypeError(`The value is nested more than ${nesting} levels deep.`);
      if (typeof part === "function") {
        if (!this.numbers.has(part)) this.numbers.set(part, this.numbers.size);
        return refer(part, FUNCTION, this.numbers.get(part));
      }
      if (part === null || typeof part !== "object" || part instanceof Uint8Array || part instanceof Raw) return part;
      if (part instanceof Date) return new Tag(0, part.toISOString().replace("Z", "000Z"));
      if (typeof part.then === "function") return refer(part, PROMISE);
      if (part[Symbol.asyncIterator]) return refer(part, ITEMS);
      if (Array.isArray(part)) return part.map((each) => walk(each, depth + 1));
      const pairs = part instanceof Map ? [...part] : Object.entries(part);
      return new Map(pairs.map(([key, each]) => [key, walk(each, depth + 1)]));
    };
    const payload = encode(walk(value, 0));
    const begin = (streams) => streams.forEach((stream, i) => this.supply(stream, sources[i]));
    return { payload, declare, begin };
  }

  supply(stream, source) {
    stream.app = source;
    if (stream.kind === FUNCTION) return;
    const alive = () => !stream.ended && !stream.send.ended && this.machine.state === "open";
    const end = (give) => alive() && this.move(give);
    const finish = (value) => {
      const { payload, declare, begin } = this.pack(value ?? null);
      end(() => begin(this.machine.resolve(stream, payload, declare)));
    };
    const fail = (error) => end(() => this.failed(stream, error));
    (stream.kind === PROMISE ? source : this.pump(stream, source[Symbol.asyncIterator](), alive)).then(finish).catch(fail);
  }

  // Sends items as they can leave; the producer waits while they cannot (TW-STR-066).
  async pump(stream, iterator, alive) {
    for (;;) {
      while (alive() && !stream.send.writable) await new Promise((resolve) => this.writers.push(resolve));
      if (!alive()) {
        await iterator.return?.();
        return null;
      }
      const { done, value } = await iterator.next();
      if (done) return value;
      const { payload, declare, begin } = this.pack(value);
      if (alive()) this.move(() => begin(this.machine.item(stream, payload, declare)));
    }
  }

  // What a payload of the peer's says.
  unpack(payload, declared) {
    const kinds = declared.map(({ kind }) => kind);
    if (decodeValue(payload, kinds, this.machine.limits.nesting).errors) {
      for (const stream of declared) this.machine.stop(stream, CODES.MALFORMED_VALUE);
      throw new RemoteError(CODES.MALFORMED_VALUE);
    }
    const handles = declared.map(() => undefined);
    const tagged = (number, content) => {
      if (number === 0) return new Date(plainOf(content));
      if (number === 2 || number === 3) {
        const n = BigInt(`0x${Buffer.from(content.v).toString("hex") || "0"}`);
        return number === 2 ? n : -1n - n;
      }
      if (number !== REFERENCE) return new Tag(number, plainOf(content, tagged));
      const [index, details = {}] = [plainOf(content)].flat();
      return (handles[index] ??= this.handle(declared[index], details));
    };
    return plainOf(nodeOf(payload), tagged);
  }

  handle(stream, details) {
    const { machine } = this;
    const home = machine.table.get(details.home);
    if (home?.mine && home.kind === stream.kind && details.home !== null) {
      machine.stop(stream); // it is our own that came back (TW-VAL-036)
      return home.app;
    }
    if (stream.kind === FUNCTION) {
      const handle = (...args) => this.start(stream, args, {});
      handle.release = () => this.move(() => machine.stop(stream));
      return handle;
    }
    if (stream.kind === PROMISE) {
      const promise = new Promise((resolve, reject) => this.readers.set(stream, { resolve, reject }));
      promise.catch(() => {}); // who never looks at it is not told
      return promise;
    }
    const reader = new Reader(this, stream, stream.kind === BYTES ? details.size : undefined);
    if (stream.ended) reader.reject(new RemoteError(CODES.UNSUPPORTED));
    else this.readers.set(stream, reader);
    return reader;
  }
}

// Items or chunks of the peer's, as an async iterator; what is taken is consumed and gives credit.
class Reader {
  constructor(client, stream, size) {
    this.client = client;
    this.stream = stream;
    this.size = size ?? null;
    this.values = [];
    this.wake = null;
  }

  put(value, units) {
    this.values.push({ value, units });
    this.wake?.();
  }

  resolve(value) {
    this.end = { value };
    this.wake?.();
  }

  reject(error) {
    this.end = { error };
    this.wake?.();
  }

  async next() {
    while (!this.values.length && !this.end) await new Promise((resolve) => (this.wake = resolve));
    if (this.values.length) {
      const { value, units } = this.values.shift();
      if (this.size !== null) this.size -= units;
      this.client.move(() => this.client.machine.consume(this.stream, units));
      return { value, done: false };
    }
    const { end } = this;
    this.end = { value: undefined };
    if (end.error) throw end.error;
    // TW-VAL-035: never a shorter or longer stream than was stated.
    if (this.size) throw new RemoteError(CODES.MALFORMED_VALUE);
    return { value: end.value, done: true };
  }

  async return(value) {
    this.client.move(() => this.client.machine.state === "open" && this.client.machine.stop(this.stream));
    this.client.readers.delete(this.stream);
    this.end = { value };
    this.values = [];
    return { value, done: true };
  }

  [Symbol.asyncIterator]() {
    return this;
  }
}

function reason(payload) {
  try {
    return payload.length ? plainOf(nodeOf(payload, 64)) : null;
  } catch {
    return null;
  }
}

function clock() {
  return performance.now() / 1000;
}
