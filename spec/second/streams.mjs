// What is open on a connection (chapters 1 and 4): streams, their halves, and the ledgers of credit.

export const CALL = 0;
export const PROMISE = 1;
export const ITEMS = 2;
export const BYTES = 3;
export const FUNCTION = 4;
export const CHANNEL = 5;

// What a half may have queued before its producer has to wait (TW-STR-066).
const QUEUE = 65536;

export class SendHalf {
  constructor(window) {
    this.window = window;
    this.limit = window;
    this.spent = 0;
    this.jobs = [];
    this.queued = 0;
    this.turn = 0;
    this.active = false;
    this.ended = false; // nothing more may be given to it
  }

  get credit() {
    return this.limit - this.spent;
  }

  get writable() {
    return !this.ended && this.queued < QUEUE;
  }

  add(job) {
    this.jobs.push(job);
    this.queued += job.payload.length;
  }

  take() {
    const job = this.jobs.shift();
    this.queued -= job.payload.length;
    return job;
  }

  drop() {
    this.jobs = [];
    this.queued = 0;
  }
}

export class ReceiveHalf {
  constructor(window) {
    this.limit = window;
    this.window = window;
    this.received = 0;
    this.consumed = 0;
    this.enlarged = 0; // both taken from the session budget
    this.borrowed = 0;
    this.incomplete = null;
    this.unread = []; // [units, cost] of what the application has not consumed
    this.ending = null; // the event that stands behind it
  }

  // Counts what the application has taken; returns whether everything that came is consumed.
  consume(units) {
    while (units > 0 && this.unread.length) {
      const first = this.unread[0];
      if (first.units <= units) {
        this.unread.shift();
        units -= first.units;
        this.consumed += first.cost;
      } else {
        // In proportion, rounded down (TW-STR-034); what is rounded off comes with the rest.
        const cost = Math.floor((first.cost * units) / first.units);
        first.units -= units;
        first.cost -= cost;
        this.consumed += cost;
        units = 0;
      }
    }
    return this.unread.length === 0;
  }
}

export class Stream {
  // `key` is the number as an sref of ours, or null until the frame that opens the stream leaves.
  constructor(kind, mine, key, owner) {
    this.kind = kind;
    this.mine = mine;
    this.key = key;
    this.owner = owner;
    this.ended = false;
    this.send = null;
    this.receive = null;
    this.app = null; // for the application
    if (kind === FUNCTION) {
      this.calls = 0; // of ours on it that have not left
      this.line = []; // of the peer's on it, in their order, that have not started (TW-CAL-021)
    }
  }
}

export class Call extends Stream {
  constructor(mine, key, target) {
    super(CALL, mine, key, null);
    this.target = target;
    this.owned = new Set();
    this.answered = false;
    this.over = false;
    this.stopped = false;
    this.started = false; // of the peer's: the application knows of it
    this.running = false; // and its function has not ended
    this.held = []; // events of its streams, until it starts
  }
}
