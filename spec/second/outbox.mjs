// What leaves next (chapter 4): control ahead of data, halves by turns, credit, fragments, numbers, batches.

import { head, encode } from "./encode.mjs";
import { Call } from "./streams.mjs";

const TURN = 16384; // bytes of a turn, and of control frames between two data frames (TW-STR-060, TW-STR-061)
const MORE = 1;
export const NOTHING = new Uint8Array();

// A job: {type, stream, payload, declared, code, extensions}, in the order of its half.
export class Outbox {
  constructor(machine) {
    this.machine = machine;
    this.control = [];
    this.refusals = [];
    this.halves = [];
    this.batches = [];
    this.frames = [];
    this.bytes = 0;
  }

  // A frame that goes ahead of data.
  urgent(frame) {
    this.control.push(frame);
  }

  give(half, job) {
    half.add({ payload: NOTHING, declared: [], offset: 0, code: 0, ...job });
    if (!half.active) {
      half.active = true;
      this.halves.push(half);
    }
  }

  discard() {
    this.control = [];
    this.refusals = [];
    this.halves = [];
  }

  // Everything that may leave now, as batches.
  pull() {
    let since = 0;
    while (this.control.length) {
      const frame = this.control.shift();
      since += this.emit(frame);
      if (since >= TURN) {
        this.data(1);
        since = 0;
      }
    }
    this.data(Infinity);
    this.flush();
    const batches = this.batches;
    this.batches = [];
    return batches;
  }

  // Up to `most` data frames, by turns.
  data(most) {
    while (most > 0 && this.refusals.length) {
      this.emit(this.refusals.shift());
      most -= 1;
    }
    let idle = 0;
    while (most > 0 && idle < this.halves.length) {
      const half = this.halves.shift();
      // What it sent beyond its turn it waits for; what it did not use it does not save up.
      half.turn = Math.min(half.turn + TURN, TURN);
      let sent = half.jobs.length && half.turn <= 0 ? 1 : 0;
      while (most > 0 && half.jobs.length && half.turn > 0) {
        const bytes = this.next(half);
        if (!bytes) break;
        half.turn -= bytes;
        sent += 1;
        most -= 1;
      }
      half.active = half.jobs.length > 0;
      if (half.active) this.halves.push(half);
      idle = sent ? 0 : half.active ? idle + 1 : idle;
    }
  }

  // The next frame of a half, if it may leave; returns its length.
  next(half) {
    const job = half.jobs[0];
    const { stream } = job;
    if (job.type === "call") {
      if (stream.key === null && !this.machine.mayCall()) return 0;
    } else if (stream.key === null) return 0; // nothing overtakes what introduces it
    switch (job.type) {
      case "release":
        if (stream.calls > 0) return 0;
        half.take();
        return this.emit([23, stream.key, job.code, job.payload]);
      case "reset":
        half.take();
        this.machine.left(job);
        return this.emit([24, stream.key, job.code, job.payload]);
      case "chunk":
        return this.chunk(half, job);
      case "item":
        return job.declared.length || job.offset ? this.piece(half, job) : this.group(half) || this.piece(half, job);
      default:
        return this.piece(half, job);
    }
  }

  chunk(half, job) {
    const { fragment_bytes, item_cost } = this.machine.peer;
    const length = Math.min(job.payload.length - job.offset, fragment_bytes, half.credit);
    if (length < 1 || half.credit < item_cost) return 0;
    half.spent += Math.max(length, item_cost);
    const part = job.payload.subarray(job.offset, job.offset + length);
    job.offset += length;
    if (job.offset === job.payload.length) half.take();
    return this.emit([21, job.stream.key, 0, part]);
  }

  // Consecutive items that are ready together, as ITEMS (TW-STR-011).
  group(half) {
    const { fragment_bytes, item_cost } = this.machine.peer;
    let count = 0;
    let length = 0;
    for (const job of half.jobs) {
      if (job.type !== "item" || job.declared.length) break;
      const whole = head(4, count + 1).length + length + job.payload.length;
      if (whole > fragment_bytes || Math.max(whole, item_cost * (count + 1)) > half.credit) break;
      count += 1;
      length += job.payload.length;
    }
    if (count === 0) return 0;
    const { stream } = half.jobs[0];
    const parts = [head(4, count)];
    for (let i = 0; i < count; i++) parts.push(half.take().payload);
    const payload = Uint8Array.from(Buffer.concat(parts));
    half.spent += Math.max(payload.length, item_cost * count);
    return this.emit([20, stream.key, 0, count, payload]);
  }

  // The first frame of a payload, or its next fragment.
  piece(half, job) {
    const { fragment_bytes, batch_bytes, item_cost } = this.machine.peer;
    const size = job.payload.length;
    const free = job.type !== "item" && size <= item_cost;
    const lack = job.type === "item" ? Math.max(0, item_cost - size) : 0;
    const remaining = size - job.offset;
    let length = Math.min(remaining, fragment_bytes, batch_bytes - this.overhead(job));
    if (!free && remaining + lack > half.credit) {
      // TW-STR-042: a large payload is begun with what fits, a small one waits.
      const begin = half.credit > half.window / 2 && size > half.window / 2;
      if (job.offset === 0 && !begin) return 0;
      length = Math.min(length, half.credit, remaining - 1);
      if (length < 1) return 0;
    }
    const last = length === remaining;
    if (!free) half.spent += length + (last ? lack : 0);
    const part = job.payload.subarray(job.offset, job.offset + length);
    const first = job.offset === 0;
    job.offset += length;
    if (first && job.type === "call") this.machine.numbered(job.stream);
    const frame = first ? this.first(job, size, part, last) : [22, job.stream.key, last ? 0 : MORE, part];
    if (last && job.declared.length) frame.push(this.declarations(job));
    if (first && job.extensions) frame.push(job.extensions(this.machine.now));
    const bytes = this.emit(frame);
    if (last) {
      half.take();
      this.machine.left(job);
    }
    return bytes;
  }

  first(job, size, part, last) {
    const flags = last ? 0 : MORE;
    const { stream, code } = job;
    if (job.type === "call") {
      const target = typeof stream.target === "string" ? stream.target : stream.target.key;
      return [16, stream.key, target, flags, size, part];
    }
    if (job.type === "error") return [18, stream.key, code, flags, size, part];
    return [job.type === "item" ? 19 : 17, stream.key, flags, size, part];
  }

  // More than a frame has besides its payload, so that it fits into a batch (TW-LIM-004).
  overhead(job) {
    const name = job.stream instanceof Call && typeof job.stream.target === "string" ? job.stream.target.length * 3 : 0;
    return 64 + name + 20 * job.declared.length + (job.extensions ? encode(job.extensions(this.machine.now)).length : 0);
  }

  declarations(job) {
    return job.declared.map((stream) => {
      this.machine.numbered(stream);
      return stream.number === undefined ? [stream.key, stream.kind] : [stream.key, stream.kind, stream.number];
    });
  }

  emit(frame) {
    const { batch_bytes, batch_frames } = this.machine.peer;
    const bytes = encode(frame);
    if (this.frames.length === batch_frames || this.bytes + bytes.length + 5 > batch_bytes) this.flush();
    this.frames.push(bytes);
    this.bytes += bytes.length;
    return bytes.length;
  }

  flush() {
    if (!this.frames.length) return;
    this.batches.push(Uint8Array.from(Buffer.concat([head(4, this.frames.length), ...this.frames])));
    this.frames = [];
    this.bytes = 0;
  }
}

