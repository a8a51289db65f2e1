// The state machine of a client (chapters 1 to 6 and 9), without I/O: batches and commands in, batches and events out.
//
// It offers no feature, declares no channels, and declines those of its peer (TW-DOC-005). It hands over all that may
// leave at once (against the SHOULD of TW-STR-065), and its close discards what waits for credit (TW-ERR-052).

import { encode } from "./encode.mjs";
import { CODES, NAMES, firstOf, ofClose } from "./codes.mjs";
import { decodeBatch } from "./frames.mjs";
import { NOTHING, Outbox } from "./outbox.mjs";
import { Arrivals, Violation } from "./arrivals.mjs";
import { BYTES, CALL, CHANNEL, Call, FUNCTION, ITEMS, SendHalf, Stream } from "./streams.mjs";

const LIMITS = [
  ["fragment_bytes", 65536, 1024], ["batch_bytes", 262144, 2048], ["message_bytes", 16777216, 1024],
  ["stream_window", 65536, 1024], ["open_calls", 1000, 0], ["open_streams", 10000, 0],
  ["credited_streams", 1000, 0], ["references", 1000, 0], ["argument_bytes", 67108864, 0],
  ["replay_bytes", 67108864, 0], ["nesting", 64, 0], ["name_bytes", 1024, 0], ["metadata_bytes", 8192, 0],
  ["reason_bytes", 16384, 0], ["batch_frames", 16384, 1], ["item_cost", 256, 1],
];
const OWN = {
  stream_window_read: 1048576, session_budget: 67108864, queued_calls: 10000, unanswered_pings: 4,
  hello_seconds: 10, idle_seconds: 15, dead_seconds: 30,
};
const DEFAULTS = Object.fromEntries(LIMITS.map(([name, value]) => [name, value]));

// What the application may not do; nothing has been queued (TW-ERR-013).
export class Refusal extends Error {
  constructor(name, text) {
    super(`${name}: ${text}`);
    this.code = CODES[name];
  }
}

export class Machine {
  constructor(limits = {}, now = 0) {
    this.limits = { ...DEFAULTS, ...OWN, ...limits };
    this.peer = DEFAULTS;
    this.state = "opening";
    this.now = this.began = this.heard = now;
    this.pinged = false;
    this.table = new Map();
    this.next = { mine: 0, theirs: 0 };
    this.open = 0; // our calls that have left and are not over
    this.goaway = Infinity; // the number from which on the peer accepts none
    this.events = [];
    this.deadlines = [];
    this.outbox = new Outbox(this);
    this.arrivals = new Arrivals(this);
  }

  // The server's HELLO has come; ours answers it.
  open_() {
    const stated = LIMITS.map(([name, value], number) => [number, this.limits[name], value]);
    const said = new Map(stated.filter(([, value, usual]) => value !== usual).map(([number, value]) => [number, value]));
    this.state = "open";
    this.outbox.emit([0, 1, 1, [], said, null, null]);
  }

  // ---- what comes and goes --------------------------------------------------------------------------

  receive(batch, now = this.now) {
    this.now = now;
    this.heard = now;
    this.pinged = false;
    if (this.state === "closed") return;
    const read = decodeBatch(batch, this.limits);
    try {
      if (read.errors) throw new Violation(firstOf(read.errors));
      for (const frame of read.meaning) {
        if (this.state === "closed") return;
        this.arrivals.take(frame);
      }
    } catch (violation) {
      if (!(violation instanceof Violation)) throw violation;
      this.violate(violation.message);
    }
  }

  // Batches that leave now.
  pull() {
    if (this.state === "opening") {
      const { batches } = this.outbox;
      this.outbox.batches = [];
      return batches;
    }
    if (this.state === "closed") return this.outbox.batches.splice(0);
    const batches = this.outbox.pull();
    this.arrivals.relieved();
    if (this.state === "closing") {
      this.close_with(CODES[this.farewell.name], this.farewell.text);
      batches.push(...this.outbox.batches.splice(0));
    }
    return batches;
  }

  // Bytes have come that are no whole batch yet (TW-NEG-060).
  alive(now) {
    this.now = this.heard = now;
    this.pinged = false;
  }

  lost() {
    if (this.state !== "closed") this.end(CODES.SESSION_LOST, false);
  }

  nextTimeout() {
    if (this.state === "closed") return null;
    const { hello_seconds, idle_seconds, dead_seconds } = this.limits;
    const times = this.deadlines.map(({ when }) => when);
    if (this.state === "opening") times.push(this.began + hello_seconds);
    else times.push(this.heard + (this.pinged ? dead_seconds : Math.min(idle_seconds, dead_seconds)));
    return Math.min(...times);
  }

  handleTimeout(now) {
    this.now = now;
    if (this.state === "closed") return;
    const due = this.deadlines.filter(({ when }) => when <= now);
    this.deadlines = this.deadlines.filter(({ when }) => when > now);
    for (const { call } of due) this.stop(call, CODES.DEADLINE_EXCEEDED);
    if (this.state === "opening") {
      if (now >= this.began + this.limits.hello_seconds) this.violate("HELLO_TIMEOUT");
    } else if (now >= this.heard + this.limits.dead_seconds) this.violate("IDLE_TIMEOUT");
    else if (!this.pinged && now >= this.heard + this.limits.idle_seconds) {
      this.pinged = true;
      this.outbox.urgent([4, 0]);
    }
  }

  // ---- what the application wants -------------------------------------------------------------------

  // `declare` lists [kind, function number]; `options` has seconds for deadline and lifetime, and metadata.
  call(target, payload, declare = [], options = {}) {
    this.demandOpen();
    if (typeof target !== "string") {
      if (target.kind !== FUNCTION || target.mine) throw new Refusal("INVALID_STATE", "only a function can be called");
      if (target.ended) throw new Refusal("REFERENCE_RELEASED", "the function has been given back or revoked");
    } else if (Buffer.byteLength(target) > this.peer.name_bytes) {
      throw new Refusal("LIMIT_EXCEEDED", `the name is longer than the peer's ${this.peer.name_bytes} bytes`);
    }
    if (this.next.mine >= this.goaway) throw new Refusal("GOING_AWAY", "the peer accepts no further calls");
    if (this.waiting().length >= this.limits.queued_calls) throw new Refusal("RESOURCE_EXHAUSTED", "too many calls wait");
    const call = new Call(true, null, target);
    call.send = new SendHalf(this.peer.stream_window);
    call.receive = this.arrivals.half();
    const declared = this.declare(payload, declare, call);
    const extensions = this.extensions(call, options);
    if (typeof target !== "string") target.calls += 1;
    this.outbox.give(call.send, { type: "call", stream: call, payload, declared, extensions });
    call.declared = declared;
    return call;
  }

  extensions(call, { deadline, lifetime, metadata }) {
    const given = [];
    for (const [key, seconds, whole] of [[0, deadline, false], [2, lifetime, true]]) {
      if (seconds === undefined) continue;
      const when = this.now + seconds;
      this.deadlines.push({ when, call, whole });
      given.push([key, (now) => Math.max(0, Math.floor((when - now) * 1000))]);
    }
    const said = metadata && new Map(Object.entries(metadata).sort(byEncoding));
    if (said) given.push([6, () => said]);
    if (!given.length) return undefined;
    if (encode(new Map(said ? [[6, said]] : [])).length + 22 > this.peer.metadata_bytes) {
      throw new Refusal("RESOURCE_EXHAUSTED", "the metadata is longer than the peer takes");
    }
    return (now) => new Map(given.map(([key, value]) => [key, value(now)]));
  }

  // The answer of a call, the value of a promise, the end of items or bytes.
  resolve(stream, payload, declare = []) {
    this.demandSending(stream);
    const declared = this.declare(payload, declare, stream.kind === CALL ? stream : stream.owner);
    stream.send.ended = true;
    this.outbox.give(stream.send, { type: "end", stream, payload, declared });
    return declared;
  }

  reject(stream, code, payload = NOTHING) {
    this.demandSending(stream);
    stream.send.ended = true;
    this.outbox.give(stream.send, { type: "error", stream, code, payload });
  }

  item(stream, payload, declare = []) {
    this.demandSending(stream, ITEMS);
    this.demandRoom(stream);
    const declared = this.declare(payload, declare, stream.owner);
    this.outbox.give(stream.send, { type: "item", stream, payload, declared });
    return declared;
  }

  chunk(stream, payload) {
    this.demandSending(stream, BYTES);
    this.demandRoom(stream);
    if (payload.length) this.outbox.give(stream.send, { type: "chunk", stream, payload });
  }

  // The function of a peer's call has ended (TW-CAL-039).
  finish(call) {
    call.running = false;
    this.arrivals.settled(call);
  }

  consume(stream, units = 1) {
    this.arrivals.consumed(stream, units);
  }

  stop(stream, code = CODES.NONE, payload = NOTHING) {
    this.demandFarewell(code, payload);
    if (stream.ended || stream.over) return;
    if (stream.kind === CALL) return this.stopCall(stream, code, payload);
    if (stream.kind === FUNCTION && !stream.mine) {
      // Behind every call that names it and has not left (TW-STR-021).
      stream.farewell = new SendHalf(0);
      this.outbox.give(stream.farewell, { type: "release", stream, code, payload });
    } else if (stream.receive) this.outbox.urgent([23, stream.key, code, payload]);
    else throw new Refusal("INVALID_STATE", "nothing is received on this stream");
    this.over(stream);
  }

  stopCall(call, code, payload) {
    if (!call.mine) throw new Refusal("INVALID_STATE", "a call is stopped by its caller");
    if (call.stopped) return;
    call.stopped = true;
    if (call.key === null) {
      call.send.drop();
      this.arrivals.rejected(call, CODES.NOT_STARTED, NOTHING);
      return;
    }
    call.send.drop();
    this.outbox.urgent([23, call.key, code, payload]);
    if (call.answered) this.callOver(call, code);
  }

  reset(stream, code = CODES.NONE, payload = NOTHING) {
    this.demandFarewell(code, payload);
    if (stream.ended || stream.over) return;
    const half = stream.kind === FUNCTION && stream.mine ? (stream.farewell = new SendHalf(0)) : stream.send;
    if (!half || (stream.kind === CALL && (stream.mine || !half.ended))) {
      throw new Refusal("INVALID_STATE", "this stream cannot be reset, or not yet");
    }
    if (stream.kind !== CALL) half.drop(); // that of a call leaves behind its answer (TW-STR-063)
    half.ended = true;
    this.outbox.give(half, { type: "reset", stream, code, payload });
    if (stream.kind === CALL) this.callOver(stream, code);
    if (stream.kind === FUNCTION) this.over(stream);
  }

  close(code = CODES.NONE, text = "") {
    if (this.state === "closed" || this.state === "closing") return;
    if (ofClose(code) !== code) throw new Refusal("INVALID_STATE", "a CLOSE has no such code");
    this.farewell = { name: NAMES[code], text };
    if (this.state === "opening") this.close_with(code, text);
    else this.state = "closing";
  }

  // ---- inside ---------------------------------------------------------------------------------------

  demandOpen() {
    if (this.state === "closed" || this.state === "closing") throw new Refusal("INVALID_STATE", "the connection is closed");
  }

  demandFarewell(code, payload) {
    this.demandOpen();
    if (code > 31) throw new Refusal("INVALID_STATE", "the code is one of connections");
    if (payload.length > this.peer.reason_bytes) throw new Refusal("RESOURCE_EXHAUSTED", "the reason is too long");
  }

  demandSending(stream, kind = stream.kind) {
    this.demandOpen();
    const sends = stream.send && !(stream.kind === CALL && stream.mine) && stream.kind === kind;
    if (!sends) throw new Refusal("INVALID_STATE", "nothing of the kind is sent on this stream");
    if (stream.ended || stream.over || stream.send.ended) throw new Refusal("INVALID_STATE", "the stream has ended");
  }

  demandRoom(stream) {
    if (!stream.send.writable) throw new Refusal("RESOURCE_EXHAUSTED", "too much waits on this stream");
  }

  // Makes the streams that a payload introduces; they have no numbers until it leaves (TW-MOD-021).
  declare(payload, kinds, owner) {
    if (payload.length > this.peer.message_bytes) throw new Refusal("RESOURCE_EXHAUSTED", "the payload is too large");
    if (kinds.length > this.peer.references) throw new Refusal("RESOURCE_EXHAUSTED", "too many references");
    const open = [...this.table.values()].filter((stream) => stream.mine && stream.kind !== CALL);
    const credited = (list) => list.filter((kind) => kind === ITEMS || kind === BYTES).length;
    const beyond = open.length + kinds.length > this.peer.open_streams;
    if (beyond || credited([...open.map(({ kind }) => kind), ...kinds.map(([kind]) => kind)]) > this.peer.credited_streams) {
      throw new Refusal("RESOURCE_EXHAUSTED", "the peer has no room for more streams");
    }
    return kinds.map(([kind, number]) => {
      if (kind === CHANNEL) throw new Refusal("UNSUPPORTED", "this client declares no channels");
      const stream = new Stream(kind, true, null, owner);
      if (kind === FUNCTION) stream.number = number;
      else stream.send = new SendHalf(this.peer.stream_window);
      return stream;
    });
  }

  // For the outbox: whether a call may leave, the number of what leaves, and what has left.
  mayCall() {
    return this.open < this.peer.open_calls && this.next.mine < this.goaway;
  }

  numbered(stream) {
    stream.key = this.next.mine++;
    if (stream.kind === CALL) {
      this.open += 1;
      this.table.set(stream.key, stream);
      if (typeof stream.target !== "string") stream.target.calls -= 1;
    } else if (stream.owner.over || stream.ended) stream.ended = true;
    else {
      this.table.set(stream.key, stream);
      stream.owner.owned.add(stream);
    }
  }

  left({ type, stream }) {
    if (stream.kind === CALL && !stream.mine && type !== "reset") {
      stream.answered = true;
      this.arrivals.answered(stream);
      if (type === "error" || stream.stopped || !stream.owned.size) this.callOver(stream);
    } else if (stream.kind !== CALL && type !== "item") this.over(stream);
  }

  // Calls that have not left.
  waiting() {
    const first = this.outbox.halves.filter((half) => half.jobs.length).map((half) => half.jobs[0]);
    return first.filter(({ type, stream }) => type === "call" && stream.key === null).map(({ stream }) => stream);
  }

  // A stream has ended by our view.
  over(stream) {
    if (stream.ended) return;
    stream.ended = true;
    if (stream.key !== null) this.table.delete(stream.key);
    this.arrivals.returned(stream);
    const call = stream.owner;
    call.owned.delete(stream);
    if (call.answered && !call.over && !call.owned.size) this.callOver(call);
  }

  // A call is over, and every stream that it owns with it (TW-MOD-054).
  callOver(call, code = CODES.NONE) {
    if (call.over) return;
    call.over = true;
    if (call.mine && call.key !== null) this.open -= 1;
    if (call.key !== null) this.table.delete(call.key);
    this.deadlines = this.deadlines.filter((each) => each.call !== call);
    this.arrivals.returned(call);
    for (const stream of [...call.owned]) {
      stream.ended = true;
      this.table.delete(stream.key);
      this.arrivals.returned(stream);
      const told = stream.receive || !stream.mine ? "reset" : "stopped";
      stream.send?.drop();
      stream.farewell?.drop();
      this.tell(stream, { event: told, stream, code: CODES.CANCELLED, payload: NOTHING });
    }
    call.owned.clear();
    this.arrivals.settled(call);
    if (call.mine || call.started) this.events.push({ event: "over", stream: call, code, payload: NOTHING });
  }

  // Tells the application; what belongs to a call that waits for an earlier one waits with it (TW-CAL-025).
  tell(stream, event) {
    const call = stream.kind === CALL ? stream : stream.owner;
    if (!call.mine && !call.started) call.held.push(event);
    else this.events.push(event);
  }

  violate(name) {
    this.outbox.discard();
    this.close_with(CODES[name], "");
  }

  close_with(code, text) {
    this.outbox.emit([27, code, text]);
    this.outbox.flush();
    this.end(code, false);
  }

  // The connection has ended for good (TW-MOD-056).
  end(code, by_peer) {
    this.state = "closed";
    const waiting = this.waiting();
    this.outbox.discard();
    for (const call of waiting) this.arrivals.rejected(call, CODES.NOT_STARTED, NOTHING);
    for (const call of [...this.table.values()].filter(({ kind }) => kind === CALL)) {
      if (call.mine && !call.answered) this.arrivals.rejected(call, code, NOTHING);
      else this.callOver(call);
    }
    this.table.clear();
    this.events.push({ event: "closed", code, by_peer });
  }
}

function byEncoding([a], [b]) {
  const [one, other] = [Buffer.from(a), Buffer.from(b)];
  return one.length - other.length || Buffer.compare(one, other);
}


