// What each frame of the peer does (chapters 1, 3, 4 and 6): the receiving side of the machine.

import { CODES, ofClose, ofStream } from "./codes.mjs";
import { NOTHING } from "./outbox.mjs";
import { BYTES, CALL, CHANNEL, Call, FUNCTION, ITEMS, ReceiveHalf, SendHalf, Stream } from "./streams.mjs";

const MORE = 1;
const LEAST = { 0: 1024, 1: 2048, 2: 1024, 3: 1024, 14: 1, 15: 1 };
const NUMBERS = [
  "fragment_bytes", "batch_bytes", "message_bytes", "stream_window", "open_calls", "open_streams", "credited_streams",
  "references", "argument_bytes", "replay_bytes", "nesting", "name_bytes", "metadata_bytes", "reason_bytes",
  "batch_frames", "item_cost",
];

export class Violation extends Error {}

function demand(condition, code = "INVALID_STATE") {
  if (!condition) throw new Violation(code);
}

const bytesOf = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));

export class Arrivals {
  constructor(machine) {
    this.machine = machine;
    this.budget = machine.limits.session_budget;
    this.enlarged = 0;
    this.waiting = []; // halves whose remainder waits for the budget (TW-STR-044)
    this.pongs = 0; // that have not left, as refusals and farewells
    this.refused = 0;
    this.farewells = 0;
    this.running = 0; // calls of the peer that are open, and the sizes of those that are not answered
    this.arguments = 0;
  }

  half() {
    return new ReceiveHalf(this.machine.limits.stream_window);
  }

  relieved() {
    this.pongs = this.refused = this.farewells = 0;
  }

  take(frame) {
    const { machine } = this;
    const name = frame.frame;
    if (machine.state === "opening") {
      demand(name === "HELLO" || name === "CLOSE");
      return name === "HELLO" ? this.hello(frame) : machine.end(ofClose(frame.code), true);
    }
    if (name === "CLOSE") return machine.end(ofClose(frame.code), true);
    demand(!["HELLO", "RESUME", "RESUMED", "ACK", "POSITION"].includes(name));
    if (name === "UNKNOWN") return this.unknown(frame);
    const odd = (frame.extensions ?? []).some(([key]) => key % 2 === 1);
    if (frame.stream === undefined) {
      demand(!odd, "UNSUPPORTED");
      return this.ofConnection(frame);
    }
    if (frame.payload !== undefined) frame.payload = bytesOf(frame.payload);
    if (name === "CALL") return this.call(frame, odd);
    const stream = this.find(frame.stream);
    if (!stream) return this.stale(frame.declarations);
    if (odd && name !== "STOP" && name !== "RESET") {
      this.stale(frame.declarations);
      return this.reject(stream, CODES.UNSUPPORTED);
    }
    this.ofStream(frame, stream);
  }

  hello(frame) {
    const { machine } = this;
    demand(frame.version_min <= 1 && frame.version_max >= 1, "VERSION_MISMATCH");
    const stated = frame.limits.filter(([number]) => number < NUMBERS.length);
    for (const [number, value] of stated) demand(value >= (LEAST[number] ?? 0), "INVALID_FRAME");
    machine.peer = { ...machine.peer, ...Object.fromEntries(stated.map(([number, value]) => [NUMBERS[number], value])) };
    const { fragment_bytes, batch_bytes, item_cost, stream_window } = machine.peer;
    demand(batch_bytes >= fragment_bytes + 1024 && item_cost * 4 <= stream_window, "INVALID_FRAME");
    machine.open_();
    machine.events.push({ event: "open", version: 1, features: [] });
  }

  ofConnection(frame) {
    const { machine } = this;
    if (frame.frame === "PING") {
      demand(++this.pongs <= machine.limits.unanswered_pings, "LIMIT_EXCEEDED");
      machine.outbox.urgent([5, frame.number]);
    } else if (frame.frame === "GOAWAY") {
      demand(frame.calls <= machine.goaway);
      machine.goaway = frame.calls;
      machine.events.push({ event: "going_away", calls: frame.calls, code: frame.code });
      if (machine.next.mine < frame.calls) return;
      for (const call of machine.waiting()) this.rejected(call, CODES.GOING_AWAY, NOTHING);
    }
  }

  unknown(frame) {
    if (frame.type < 128) return demand(frame.type % 2 === 0, "UNSUPPORTED");
    const stream = this.find(frame.stream);
    if (stream && frame.type % 2) this.reject(stream, CODES.UNSUPPORTED);
  }

  // The stream of an sref of the peer's, or undefined where it has ended (TW-MOD-025, TW-MOD-030).
  find(sref) {
    const { next, table } = this.machine;
    demand(sref >= 0 ? sref < next.theirs : -1 - sref < next.mine, "UNKNOWN_STREAM");
    return table.get(-1 - sref);
  }

  // ---- numbers and declarations -----------------------------------------------------------------------

  number(number) {
    demand(number === this.machine.next.theirs);
    this.machine.next.theirs += 1;
    return -1 - number;
  }

  farewell(key, kind, code) {
    demand(++this.farewells <= this.machine.limits.open_streams, "LIMIT_EXCEEDED");
    this.machine.outbox.urgent([23, key, code, NOTHING]);
    if (kind === CHANNEL) this.machine.outbox.urgent([24, key, code, NOTHING]);
  }

  // Declarations in a stale frame take their numbers, and are stopped (TW-MOD-031).
  stale(declarations = []) {
    for (const [number, kind] of declarations) this.farewell(this.number(number), kind, CODES.NONE);
  }

  declared(declarations = [], owner) {
    const { table, limits } = this.machine;
    const theirs = [...table.values()].filter((stream) => !stream.mine && stream.kind !== CALL);
    let open = theirs.length;
    let credited = theirs.filter(({ kind }) => kind === ITEMS || kind === BYTES).length;
    return declarations.map(([number, kind, named]) => {
      const stream = new Stream(kind, false, this.number(number), owner);
      stream.number = named;
      const counts = kind === ITEMS || kind === BYTES;
      const room = open < limits.open_streams && (!counts || credited < limits.credited_streams);
      if (owner.over || kind === CHANNEL || !room) {
        stream.ended = true;
        if (!owner.over) this.farewell(stream.key, kind, room ? CODES.UNSUPPORTED : CODES.RESOURCE_EXHAUSTED);
        return stream;
      }
      open += 1;
      credited += counts ? 1 : 0;
      if (kind !== FUNCTION) stream.receive = this.half();
      table.set(stream.key, stream);
      owner.owned.add(stream);
      return stream;
    });
  }

  // ---- calls of the peer ------------------------------------------------------------------------------

  call(frame, odd) {
    const { machine } = this;
    const key = this.number(frame.stream);
    const extensions = new Map(frame.extensions ?? []);
    let { target } = frame;
    let code = odd ? "UNSUPPORTED" : null;
    if (typeof target !== "string") {
      const named = this.find(target);
      if (named) demand(named.kind === FUNCTION && named.mine);
      else code ??= "REFERENCE_RELEASED";
      target = named;
    }
    const { limits } = machine;
    if (frame.size > limits.message_bytes) code ??= "MESSAGE_TOO_LARGE";
    const full = this.running >= limits.open_calls || this.arguments + frame.size > limits.argument_bytes;
    if (full) code ??= "RESOURCE_EXHAUSTED";
    if (extensions.get(0) === 0 || extensions.get(2) === 0) code ??= "DEADLINE_EXCEEDED";
    if (code) {
      this.stale(frame.declarations);
      return this.refuse(key, CODES[code]);
    }
    const call = new Call(false, key, target);
    call.size = frame.size;
    this.running += 1;
    this.arguments += frame.size;
    machine.table.set(key, call);
    call.send = new SendHalf(machine.peer.stream_window);
    call.receive = this.half();
    const seconds = (number) => (extensions.has(number) ? extensions.get(number) / 1000 : undefined);
    call.told = { deadline: seconds(0), lifetime: seconds(2) };
    if (extensions.has(6)) call.told.metadata = Object.fromEntries(extensions.get(6).map);
    if (target instanceof Stream) target.line.push(call);
    this.begin(frame, call);
  }

  refuse(key, code) {
    demand(++this.refused <= this.machine.limits.open_calls, "LIMIT_EXCEEDED");
    this.machine.outbox.refusals.push([18, key, code, 0, 0, NOTHING]);
  }

  // A call that has not started, and will not.
  unstarted(call, code) {
    this.refuse(call.key, code);
    call.answered = true;
    this.answered(call);
    this.machine.callOver(call);
    this.advance(call.target, call);
  }

  complete(call, payload, declarations) {
    call.payload = payload;
    call.complete = true;
    call.declared = this.declared(declarations, call);
    if (call.target instanceof Stream) this.advance(call.target);
    else this.start(call);
  }

  // Starts what may start of the calls on one function, in their order (TW-CAL-021).
  advance(target, gone) {
    if (!(target instanceof Stream)) return;
    if (gone) target.line = target.line.filter((call) => call !== gone);
    while (target.line[0]?.complete) this.start(target.line.shift());
  }

  start(call) {
    const { events } = this.machine;
    call.started = call.running = true;
    const { target, payload, declared, told } = call;
    events.push({ event: "call", stream: call, target, payload, declared, ...told });
    events.push(...call.held.splice(0));
  }

  // The answer of a peer's call has left: its arguments count no more.
  answered(call) {
    this.arguments -= call.size ?? 0;
    call.size = 0;
  }

  // Gives a place back when the call is over and its function has ended (TW-CAL-039).
  settled(call) {
    if (call.mine || !call.over || call.running || call.settled) return;
    call.settled = true;
    this.running -= 1;
    this.answered(call);
  }

  // ---- frames of a stream -----------------------------------------------------------------------------

  ofStream(frame, stream) {
    const { machine } = this;
    switch (frame.frame) {
      case "STOP":
        return this.stop(frame, stream);
      case "RESET":
        return this.reset(frame, stream);
      case "GRANT":
        demand(stream.send);
        stream.send.limit = Math.max(stream.send.limit, frame.limit);
        return;
    }
    demand(stream.receive);
    switch (frame.frame) {
      case "ITEM":
        demand(stream.kind === ITEMS);
        break;
      case "ITEMS":
        demand(stream.kind === ITEMS && !stream.receive.incomplete && !stream.receive.ending);
        this.spend(stream.receive, Math.max(frame.payload.length, machine.limits.item_cost * frame.count), frame.count);
        machine.tell(stream, { event: "items", stream, count: frame.count, payload: frame.payload });
        return;
      case "CHUNK":
        demand(stream.kind === BYTES && !stream.receive.incomplete && !stream.receive.ending);
        this.spend(stream.receive, Math.max(frame.payload.length, machine.limits.item_cost), frame.payload.length);
        machine.tell(stream, { event: "chunk", stream, payload: frame.payload });
        return;
      case "FRAGMENT":
        return this.fragment(frame, stream);
      default:
        demand(stream.kind !== CALL || (stream.mine && !stream.answered));
        if (stream.kind === BYTES && frame.frame === "END") demand(frame.size === 0 && !frame.declarations);
    }
    demand(!stream.receive.ending && (!stream.receive.incomplete || frame.frame === "ERROR"));
    this.begin(frame, stream);
  }

  spend(half, cost, units = 0) {
    half.received += cost;
    demand(cost === 0 || half.received <= half.limit, "FLOW_CONTROL");
    if (units) half.unread.push({ units, cost });
  }

  // The first frame of a payload, which may be the last.
  begin(frame, stream) {
    const { limits } = this.machine;
    const half = stream.receive;
    half.incomplete = null;
    if (frame.size > limits.message_bytes && !stream.ignores) {
      this.reject(stream, CODES.MESSAGE_TOO_LARGE);
      if (!stream.ignores) return this.stale(frame.declarations);
    }
    const item = frame.frame === "ITEM";
    const free = !item && frame.size <= limits.item_cost;
    const lack = item ? Math.max(0, limits.item_cost - frame.size) : 0;
    const { size, code } = frame;
    half.incomplete = { type: frame.frame, size, code, free, lack, parts: [], got: 0, cost: 0 };
    this.part(frame, stream);
    if (frame.flags & MORE && !free && !stream.ignores) {
      const limit = half.received + size - frame.payload.length + lack;
      if (limit > half.limit) this.lend(half, stream, limit);
    }
  }

  fragment(frame, stream) {
    const open = stream.receive.incomplete;
    demand(open);
    const got = open.got + frame.payload.length;
    demand(frame.flags & MORE ? got < open.size : got === open.size, "INVALID_FRAME");
    this.part(frame, stream);
  }

  part(frame, stream) {
    const half = stream.receive;
    const open = half.incomplete;
    const last = !(frame.flags & MORE);
    const cost = open.free ? 0 : frame.payload.length + (last ? open.lack : 0);
    this.spend(half, cost);
    open.cost += cost;
    open.got += frame.payload.length;
    if (!stream.ignores) open.parts.push(frame.payload); // else only the end of that answer matters
    if (!last) return;
    half.incomplete = null;
    this.whole(open, stream, Uint8Array.from(Buffer.concat(open.parts)), frame.declarations);
  }

  whole({ type, code, cost }, stream, payload, declarations) {
    const { machine } = this;
    const half = stream.receive;
    if (type !== "ITEM") {
      this.budget += half.borrowed; // it is taken with its event, at once (TW-STR-046)
      half.borrowed = 0;
      this.serve();
    }
    if (type === "CALL") return this.complete(stream, payload, declarations);
    const owner = stream.kind === CALL ? stream : stream.owner;
    if (type === "ERROR") {
      this.stale(declarations);
      const known = ofStream(code, payload, 1);
      if (stream.kind === CALL) return this.rejected(stream, known.code, known.payload);
      half.ending = { event: "failed", stream, ...known };
      return this.ended(stream);
    }
    if (type === "ITEM") {
      half.unread.push({ units: 1, cost });
      const declared = this.declared(declarations, owner);
      return machine.tell(stream, { event: "item", stream, payload, declared });
    }
    if (stream.kind === CALL) return this.result(stream, payload, declarations);
    half.ending = { event: "ended", stream, payload, declared: this.declared(declarations, owner) };
    this.ended(stream);
  }

  result(call, payload, declarations) {
    const { machine } = this;
    call.answered = true;
    call.send.drop();
    machine.deadlines = machine.deadlines.filter((each) => each.call !== call || each.whole);
    if (call.stopped || call.ignores) machine.callOver(call);
    const declared = this.declared(declarations, call);
    if (!call.ignores) machine.events.push({ event: "resolved", stream: call, payload, declared });
    if (!call.owned.size) machine.callOver(call);
  }

  // A call of ours ends with an error.
  rejected(call, code, payload) {
    call.answered = true;
    call.send.drop();
    if (call.key === null && typeof call.target !== "string") call.target.calls -= 1;
    if (!call.ignores) this.machine.events.push({ event: "rejected", stream: call, code, payload });
    this.machine.callOver(call);
  }

  // The end of a half stands behind what it sent: it is told when that is consumed (TW-MOD-014).
  ended(stream) {
    const { ending, unread } = stream.receive;
    if (!ending || unread.length) return;
    this.machine.tell(stream, ending);
    this.machine.over(stream);
  }

  stop(frame, stream) {
    const { machine } = this;
    const told = { event: "stopped", stream, ...ofStream(frame.code, frame.payload, 0) };
    if (stream.kind === CALL) {
      demand(!stream.mine);
      if (stream.answered) return machine.callOver(stream, told.code);
      if (!stream.started) return this.unstarted(stream, CODES.NOT_STARTED);
      if (stream.stopped) return;
      stream.stopped = true;
      machine.events.push(told);
      return;
    }
    demand(stream.mine);
    stream.send?.drop();
    machine.tell(stream, told);
    machine.over(stream);
  }

  reset(frame, stream) {
    const { machine } = this;
    if (stream.kind === CALL) {
      demand(stream.mine && stream.answered);
      return machine.callOver(stream, ofStream(frame.code, NOTHING, 0).code);
    }
    demand(!stream.mine);
    if (stream.receive?.ending) return;
    machine.tell(stream, { event: "reset", stream, ...ofStream(frame.code, frame.payload, 0) });
    machine.over(stream);
  }

  // Gives up a stream for what came on it (TW-ERR-020, TW-ERR-021).
  reject(stream, code) {
    const { machine } = this;
    if (stream.kind !== CALL) {
      if (stream.mine) machine.reset(stream, code);
      else machine.stop(stream, code);
      machine.tell(stream, { event: stream.mine ? "stopped" : "reset", stream, code, payload: NOTHING });
    } else if (stream.mine) {
      if (!stream.answered) machine.events.push({ event: "rejected", stream, code, payload: NOTHING });
      machine.stop(stream, code);
      stream.ignores = !stream.answered;
      // TW-ERR-022: only the end of that answer matters now.
      if (stream.ignores) this.grant(stream.receive, stream, Number.MAX_SAFE_INTEGER);
    } else if (stream.answered) machine.reset(stream, code);
    else if (!stream.started) this.unstarted(stream, code);
    else machine.tell(stream, { event: "stopped", stream, code, payload: NOTHING });
  }

  // ---- credit -----------------------------------------------------------------------------------------

  consumed(stream, units) {
    const { machine } = this;
    const half = stream.receive;
    if (stream.ended || !half) return;
    half.consume(units);
    const { stream_window, stream_window_read, session_budget } = machine.limits;
    const more = stream_window_read - stream_window;
    if (!half.enlarged && more > 0 && more <= this.budget && this.enlarged + more <= session_budget / 2) {
      half.enlarged = more;
      half.window += more;
      this.budget -= more;
      this.enlarged += more;
    }
    if (half.borrowed && half.consumed + half.window >= half.limit) {
      this.budget += half.borrowed;
      half.borrowed = 0;
      this.serve();
    }
    const limit = half.consumed + half.window;
    if (!half.ending && limit - half.limit >= Math.floor(half.window / 2)) this.grant(half, stream, limit);
    this.ended(stream);
  }

  grant(half, stream, limit) {
    half.limit = limit;
    this.machine.outbox.urgent([25, stream.key, limit]);
  }

  // The whole remainder of a payload, in one step (TW-STR-043), when the budget has room.
  lend(half, stream, limit) {
    this.waiting.push({ half, stream, limit });
    this.serve();
  }

  serve() {
    while (this.waiting.length) {
      const { half, stream, limit } = this.waiting[0];
      const more = limit - half.limit;
      if (!stream.ended && !stream.over && half.incomplete && more > 0) {
        if (more > this.budget) return;
        this.budget -= more;
        half.borrowed += more;
        this.grant(half, stream, limit);
      }
      this.waiting.shift();
    }
  }

  // What a half held of the budget goes back with it (TW-STR-038).
  returned(stream) {
    const half = stream.receive;
    if (!half) return;
    this.budget += half.borrowed + half.enlarged;
    this.enlarged -= half.enlarged;
    half.borrowed = half.enlarged = 0;
    half.incomplete = null;
    this.serve();
  }
}

