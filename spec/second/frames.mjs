// What a batch says (chapter 2, telewire.cddl): frames to JSON, or every code that its receiver may close with.

import { Refused, ascii, floatMeaning, hex, integerMeaning, isWellFormed, readHead, readItem } from "./cbor.mjs";
import { floatKey, integerKey, simpleKey } from "./numbers.mjs";

const SAFE = 9007199254740991n;
const MORE = 1;

export const DEFAULTS = {
  fragment_bytes: 65536,
  batch_bytes: 262144,
  references: 1000,
  nesting: 64,
  name_bytes: 1024,
  metadata_bytes: 8192,
  reason_bytes: 16384,
  batch_frames: 16384,
};

const PAYLOAD = ["flags", "size", "payload", "declarations"];
// Fields after the type; declarations may be missing.
const LAYOUTS = new Map([
  [0, ["HELLO", "version_min", "version_max", "features", "limits", "session", "token"]],
  [1, ["RESUME", "secret_session", "secret_token", "attempt", "received"]],
  [2, ["RESUMED", "attempt", "received"]],
  [3, ["ACK", "received"]],
  [4, ["PING", "number"]],
  [5, ["PONG", "number"]],
  [6, ["POSITION", "position"]],
  [16, ["CALL", "call", "target", ...PAYLOAD]],
  [17, ["END", "stream", ...PAYLOAD]],
  [18, ["ERROR", "stream", "code", ...PAYLOAD]],
  [19, ["ITEM", "stream", ...PAYLOAD]],
  [20, ["ITEMS", "stream", "no_flags", "count", "some_payload"]],
  [21, ["CHUNK", "stream", "no_flags", "some_payload"]],
  [22, ["FRAGMENT", "stream", "flags", "some_payload", "declarations"]],
  [23, ["STOP", "stream", "code", "reason"]],
  [24, ["RESET", "stream", "code", "reason"]],
  [25, ["GRANT", "stream", "limit"]],
  [26, ["GOAWAY", "calls", "code", "text"]],
  [27, ["CLOSE", "code", "text"]],
]);

// The key 1 is not understood in this version and may hold anything.
const KNOWN_KEYS = new Map([
  [0, isUint],
  [2, isUint],
  [4, isUint],
  [6, isTexts],
  [8, (node) => node.t === "text"],
  [10, (node) => node.t === "bytes"],
  [12, isTexts],
  [16, isUint],
  [18, (node) => node.t === "text"],
  [20, (node) => node.t === "text"],
  [22, isUint],
]);

function isUint(node) {
  return node.t === "int" && node.v >= 0n && node.v <= SAFE;
}

function isTexts(node) {
  return node.t === "map" && node.v.every(([key, value]) => key.t === "text" && value.t === "text");
}

function demand(condition, code = "INVALID_FRAME") {
  if (!condition) throw new Refused(code);
}

function uint(node) {
  demand(isUint(node));
  return Number(node.v);
}

function sref(node) {
  demand(node.t === "int" && node.v >= -SAFE - 1n && node.v <= SAFE);
  // −2^53 is safe in JSON as a number, too, though it is no safe integer of JavaScript.
  return Number(node.v);
}

function utf8Length(text) {
  return Buffer.byteLength(text, "utf8");
}

// ---- plain values outside payloads: no tags, no undefined ----------------------------------------

// [meaning, key] of a node; the order of a map means nothing here, so its keys are sorted.
function plain(node) {
  switch (node.t) {
    case "int":
      return [integerMeaning(node.v), integerKey(node.v)];
    case "float":
      return [floatMeaning(node.v), floatKey(node.v)];
    case "text":
      return [node.v, "t" + ascii(node.v)];
    case "bytes":
      return [{ bytes: hex(node.v) }, "b" + hex(node.v)];
    case "array": {
      const read = node.v.map(plain);
      return [read.map(([said]) => said), "[" + read.map(([, key]) => key).join() + "]"];
    }
    case "map": {
      const pairs = node.v.map(([key, value]) => [plain(key), plain(value)]);
      const said = pairs.map(([key, value]) => ascii([key[0], value[0]])).sort();
      const keys = pairs.map(([key, value]) => key[1] + ":" + value[1]).sort();
      return [{ map: said.map((pair) => JSON.parse(pair)) }, "{" + keys.join() + "}"];
    }
    default:
      demand(node.t === "simple" && node.v >= 20 && node.v <= 22);
      return [[false, true, null][node.v - 20], simpleKey(node.v)];
  }
}

function shortHead(argument) {
  if (argument < 24n) return 1;
  if (argument < 0x100n) return 2;
  if (argument < 0x10000n) return 3;
  return argument < 0x100000000n ? 5 : 9;
}

// The length of a plain value with the shortest heads and all floats in 64 bits (TW-FRM-073).
function plainLength(node) {
  const sum = (nodes) => nodes.reduce((total, part) => total + plainLength(part), 0);
  switch (node.t) {
    case "int":
      return shortHead(node.v < 0n ? -1n - node.v : node.v);
    case "float":
      return 9;
    case "text":
      return shortHead(BigInt(utf8Length(node.v))) + utf8Length(node.v);
    case "bytes":
      return shortHead(BigInt(node.v.length)) + node.v.length;
    case "array":
      return shortHead(BigInt(node.v.length)) + sum(node.v);
    case "map":
      return shortHead(BigInt(node.v.length)) + sum(node.v.flat());
    default:
      return 1;
  }
}

// ---- one frame ------------------------------------------------------------------------------------

class Frame {
  constructor(limits, note) {
    this.limits = limits;
    this.note = note;
  }

  limit(length, name, code = "LIMIT_EXCEEDED") {
    if (length > this.limits[name]) this.note(code);
  }

  flags(node) {
    const flags = uint(node);
    demand(flags < 8);
    if (flags & 6) this.note("UNSUPPORTED");
    return flags;
  }

  payload(node) {
    demand(node.t === "bytes");
    this.limit(node.v.length, "fragment_bytes", "INVALID_FRAME");
    return hex(node.v);
  }

  text(node, limit) {
    demand(node.t === "text");
    this.limit(utf8Length(node.v), limit);
    return node.v;
  }

  field(name, node) {
    switch (name) {
      case "features":
        demand(node.t === "array");
        return node.v.map(uint);
      case "limits": {
        demand(node.t === "map");
        const limits = node.v.map(([number, value]) => [uint(number), uint(value)]);
        return limits.sort(([a], [b]) => a - b);
      }
      case "session":
      case "token":
        if (node.t === "simple" && node.v === 22) return null;
      // falls through
      case "secret_session":
      case "secret_token":
        demand(node.t === "bytes");
        return hex(node.v);
      case "call":
        demand(sref(node) >= 0);
        return sref(node);
      case "stream":
        return sref(node);
      case "target":
        return node.t === "text" ? this.text(node, "name_bytes") : sref(node);
      case "flags":
        return this.flags(node);
      case "no_flags": {
        const flags = this.flags(node);
        demand(!(flags & MORE));
        return flags;
      }
      case "count":
        demand(uint(node) >= 1);
        return uint(node);
      case "payload":
        return this.payload(node);
      case "some_payload":
        demand(node.t === "bytes" && node.v.length >= 1);
        return this.payload(node);
      case "reason":
        demand(node.t === "bytes");
        this.limit(node.v.length, "reason_bytes");
        return hex(node.v);
      case "text":
        return this.text(node, "reason_bytes");
      case "declarations":
        return this.declarations(node);
      default:
        return uint(node);
    }
  }

  declarations(node) {
    demand(node.t === "array" && node.v.length >= 1);
    this.limit(node.v.length, "references");
    return node.v.map((declaration) => {
      demand(declaration.t === "array" && declaration.v.length >= 2);
      const said = declaration.v.map(uint);
      demand(said[1] >= 1 && said[1] <= 5);
      demand(said.length === (said[1] >= 4 ? 3 : 2));
      return said;
    });
  }

  extensions(node) {
    const said = [];
    for (const [key, value] of node.v) {
      const number = uint(key);
      const fits = KNOWN_KEYS.get(number);
      demand(!fits || fits(value));
      said.push([number, plain(value)[0]]);
    }
    this.limit(plainLength(node), "metadata_bytes");
    return said.sort(([a], [b]) => a - b);
  }

  // The agreement of fields with each other.
  check(said) {
    if (said.frame === "HELLO") {
      demand(said.version_min <= said.version_max);
      demand((said.session === null) === (said.token === null));
    }
    if (said.size !== undefined) {
      const length = said.payload.length / 2;
      demand(said.flags & MORE ? length >= 1 && length < said.size : length === said.size);
    }
    if (said.flags & MORE) demand(said.declarations === undefined);
  }

  read(node) {
    demand(node.t === "array" && node.v.length >= 1);
    const type = uint(node.v[0]);
    const layout = LAYOUTS.get(type);
    if (!layout) return this.unknown(type, node.v.slice(1));
    const rest = node.v.slice(1);
    const said = { frame: layout[0] };
    for (const name of layout.slice(1)) {
      if (name === "declarations" && (rest.length === 0 || rest[0].t !== "array")) continue;
      demand(rest.length >= 1);
      said[SAID_AS[name] ?? name] = this.field(name, rest.shift());
    }
    if (rest.length >= 1 && rest[0].t === "map") said.extensions = this.extensions(rest.shift());
    demand(rest.length === 0);
    this.check(said);
    return said;
  }

  unknown(type, rest) {
    demand((type >= 7 && type <= 15) || (type >= 64 && type <= 65535));
    const said = { frame: "UNKNOWN", type };
    if (type >= 128) {
      demand(rest.length >= 1);
      said.stream = sref(rest.shift());
    }
    rest.forEach(plain);
    return said;
  }
}

const SAID_AS = {
  call: "stream",
  secret_session: "session",
  secret_token: "token",
  no_flags: "flags",
  some_payload: "payload",
  reason: "payload",
};

// ---- a batch --------------------------------------------------------------------------------------

// What chapter 2 forbids in any place outside payloads; it has a code whatever else is wrong.
function forbid(note) {
  return {
    tag: () => note("FORBIDDEN_TAG"),
    simple(v) {
      if (v < 20 || v > 22) note("INVALID_FRAME");
    },
    key(node, keys) {
      let key;
      try {
        key = plain(node)[1];
      } catch {
        if (node.t !== "simple") return; // what stands in the key has been noted
        key = "s" + node.v;
      }
      if (keys.has(key)) note("DUPLICATE_KEY");
      keys.add(key);
    },
  };
}

// The frames of a batch, or the codes of all rules that it was found to break.
export function decodeBatch(bytes, limits) {
  if (bytes.length > limits.batch_bytes) return { errors: ["BATCH_TOO_LARGE"] };
  const codes = new Set();
  const note = (code) => codes.add(code);
  const frames = [];
  const attempt = (step) => {
    try {
      return step();
    } catch (refused) {
      if (!(refused instanceof Refused)) throw refused;
      note(refused.code);
      return undefined;
    }
  };
  attempt(() => {
    const head = readHead(bytes, 0);
    if (head.major === 4 && head.argument > BigInt(limits.batch_frames)) note("BATCH_TOO_LARGE");
    const [node, end] = readItem(bytes, 0, limits.nesting + 3, note, forbid(note));
    demand(node.t === "array" && node.v.length >= 1 && end === bytes.length, "MALFORMED");
    for (const frame of node.v) frames.push(attempt(() => new Frame(limits, note).read(frame)));
  });
  if (codes.has("NESTING_TOO_DEEP") && !isWellFormed(bytes)) note("MALFORMED");
  return codes.size ? { errors: [...codes].sort() } : { meaning: frames };
}

// The batches in a stream of bytes (TW-FRM-003), and how many bytes wait for the rest of theirs.
export function splitStream(bytes, limits) {
  const batches = [];
  let at = 0;
  while (at < bytes.length) {
    let head;
    if (bytes[at] >> 5 !== 2 || (bytes[at] & 31) > 27) return { errors: ["MALFORMED"], batches };
    try {
      head = readHead(bytes, at);
    } catch {
      break; // the head itself is still on its way
    }
    if (head.argument > BigInt(limits.batch_bytes)) return { errors: ["BATCH_TOO_LARGE"], batches };
    const end = head.next + Number(head.argument);
    if (end > bytes.length) break;
    batches.push(hex(bytes.subarray(head.next, end)));
    at = end;
  }
  return { meaning: { batches, waiting: bytes.length - at } };
}
