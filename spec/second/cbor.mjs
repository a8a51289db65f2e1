// Reads one CBOR item (RFC 8949) of definite lengths into nodes, and notes what chapter 2 or 8 forbids.
//
// A node is {t, v}: int (BigInt), bytes (Uint8Array), text (string), array (nodes), map (pairs of nodes),
// tag ({number, content}), simple (its number) or float (a number).

export class Refused extends Error {
  constructor(code) {
    super(code);
    this.code = code;
  }
}

const NOBODY = { tag() {}, simple() {}, key() {} };

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function half(bits) {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

// The first byte and its argument; throws MALFORMED where they are cut or not of a definite length.
export function readHead(bytes, at) {
  if (at >= bytes.length) throw new Refused("MALFORMED");
  const major = bytes[at] >> 5;
  const info = bytes[at] & 31;
  if (info > 27) throw new Refused("MALFORMED");
  if (info < 24) return { major, info, argument: BigInt(info), next: at + 1 };
  const width = 1 << (info - 24);
  if (at + 1 + width > bytes.length) throw new Refused("MALFORMED");
  let argument = 0n;
  for (let i = 0; i < width; i++) argument = (argument << 8n) | BigInt(bytes[at + 1 + i]);
  return { major, info, argument, next: at + 1 + width };
}

// One item from `at` on. `note(code)` is told of what forbids the item but not to read on; `depth` is
// how many levels may still be opened. `visit` sees what stands outside payloads as soon as it has been
// read, also where what follows is cut.
export function readItem(bytes, at, depth, note, visit = NOBODY) {
  const { major, info, argument, next } = readHead(bytes, at);
  if (major === 0) return [{ t: "int", v: argument }, next];
  if (major === 1) return [{ t: "int", v: -1n - argument }, next];
  if (major === 7) {
    const node = readSimple(bytes, info, Number(argument), next);
    if (node.t === "simple") visit.simple(node.v);
    return [node, next];
  }
  if (major === 2 || major === 3) {
    if (argument > BigInt(bytes.length - next)) throw new Refused("MALFORMED");
    const end = next + Number(argument);
    const part = bytes.subarray(next, end);
    if (major === 2) return [{ t: "bytes", v: part }, end];
    try {
      return [{ t: "text", v: utf8.decode(part) }, end];
    } catch {
      note("MALFORMED");
      return [{ t: "text", v: "" }, end];
    }
  }
  if (depth === 0) {
    note("NESTING_TOO_DEEP");
    throw new Refused("NESTING_TOO_DEEP");
  }
  if (major === 6) {
    visit.tag(argument);
    const [content, end] = readItem(bytes, next, depth - 1, note, visit);
    return [{ t: "tag", v: { number: argument, content } }, end];
  }
  // Whatever the count announces, no memory is taken for parts that have not come.
  const parts = major === 4 ? argument : argument * 2n;
  const items = [];
  const keys = new Set();
  let position = next;
  for (let i = 0n; i < parts; i++) {
    const [item, end] = readItem(bytes, position, depth - 1, note, visit);
    if (major === 5 && i % 2n === 0n) visit.key(item, keys);
    items.push(item);
    position = end;
  }
  if (major === 4) return [{ t: "array", v: items }, position];
  const pairs = [];
  for (let i = 0; i < items.length; i += 2) pairs.push([items[i], items[i + 1]]);
  return [{ t: "map", v: pairs }, position];
}

function readSimple(bytes, info, argument, next) {
  if (info < 24) return { t: "simple", v: argument };
  if (info === 24) {
    if (argument < 32) throw new Refused("MALFORMED"); // RFC 8949 §3.3: such two bytes are not well-formed
    return { t: "simple", v: argument };
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (info === 25) return { t: "float", v: half(argument) };
  if (info === 26) return { t: "float", v: view.getFloat32(next - 4) };
  return { t: "float", v: view.getFloat64(next - 8) };
}

// Whether the bytes are one well-formed item, however deep: for data that readItem has not read to its end.
export function isWellFormed(bytes) {
  const open = [1n]; // items still to come, level by level
  let at = 0;
  try {
    while (open.length) {
      if (open.at(-1) === 0n) {
        open.pop();
        continue;
      }
      open[open.length - 1] -= 1n;
      const { major, info, argument, next } = readHead(bytes, at);
      at = next;
      if (major === 2 || major === 3) at += Number(argument);
      else if (major === 4) open.push(argument);
      else if (major === 5) open.push(2n * argument);
      else if (major === 6) open.push(1n);
      else if (major === 7 && info === 24 && argument < 32n) return false;
    }
  } catch {
    return false;
  }
  return at === bytes.length;
}

// What a number says, as JSON: safe integers as they are, larger ones in hexadecimal.
export function integerMeaning(v) {
  if (v >= -9007199254740991n && v <= 9007199254740991n) return Number(v);
  return { int: (v < 0n ? "-0x" : "0x") + (v < 0n ? -v : v).toString(16) };
}

export function hex(bytes) {
  return Buffer.from(bytes).toString("hex");
}

export function floatMeaning(v) {
  if (Number.isNaN(v)) return { float: "nan" };
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, v);
  return { float: view.getBigUint64(0).toString(16).padStart(16, "0") };
}

// JSON in ASCII alone, so that its order is the same in every language.
export function ascii(json) {
  return JSON.stringify(json).replace(
    /[\u007f-\uffff]/g,
    (unit) => "\\u" + unit.charCodeAt(0).toString(16).padStart(4, "0"),
  );
}
