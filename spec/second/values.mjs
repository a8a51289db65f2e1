// What a payload says (chapter 8): nodes to JSON, the keys of maps, references and their declarations.

import { Refused, ascii, floatMeaning, hex, integerMeaning, readItem } from "./cbor.mjs";
import { decimalKey, floatKey, gcd, integerKey, nanKey, rationalKey, simpleKey } from "./numbers.mjs";

const SAFE = 9007199254740991n;
const PROMISE = 1;
const FUNCTION = 4;

const DATE = /^(\d{4})-(\d\d)-(\d\d)$/;
const CLOCK = /^(\d\d):(\d\d):(\d\d)(?:\.(\d{6}))?$/;
const MOMENT = /^(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))$/;
const TIME_OF_DAY = /^(\d\d:\d\d:\d\d(?:\.\d{6})?)(?:([+-])(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{6}))?)?)?$/;
const ODD_DECIMAL = /^(?:(-?)(NaN|Infinity)|-0E([+-])(\d{1,6}))$/;

function malformed() {
  return new Refused("MALFORMED_VALUE");
}

function demand(condition) {
  if (!condition) throw malformed();
}

function date(text) {
  const parts = DATE.exec(text);
  demand(parts);
  const [year, month, day] = parts.slice(1).map(Number);
  demand(year >= 1 && month >= 1 && month <= 12 && day >= 1);
  const leap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  demand(day <= [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]);
  return text;
}

function clock(text) {
  const parts = CLOCK.exec(text);
  demand(parts && Number(parts[1]) < 24 && Number(parts[2]) < 60 && Number(parts[3]) < 60);
  return parts[4] === "000000" ? text.slice(0, 8) : text;
}

function offset(sign, hours, minutes, seconds = "00", micros = "000000") {
  demand(Number(hours) < 24 && Number(minutes) < 60 && Number(seconds) < 60);
  const nothing = Number(hours + minutes + seconds + micros) === 0;
  let text = `${nothing ? "+" : sign}${hours}:${minutes}`;
  if (micros !== "000000") text += `:${seconds}.${micros}`;
  else if (seconds !== "00") text += `:${seconds}`;
  return text;
}

function moment(text) {
  const parts = MOMENT.exec(text);
  demand(parts);
  const fraction = parts[3] === undefined ? "" : "." + parts[3].padEnd(6, "0").slice(0, 6);
  const zone = parts[4] ? offset(parts[4], parts[5], parts[6]) : "+00:00";
  return `${date(parts[1])}T${clock(parts[2] + fraction)}${zone}`;
}

// Microseconds since 1970 of a moment as `moment` returns it, which are its key (TW-VAL-016).
function instant(said) {
  const parts = /^(.{10})T(.{8})(?:\.(.{6}))?([+-])(..):(..)/.exec(said);
  const local = BigInt(Date.parse(`${parts[1]}T${parts[2]}Z`)) * 1000n + BigInt(parts[3] ?? 0);
  const ahead = BigInt(Number(parts[5]) * 60 + Number(parts[6])) * 60000000n;
  return parts[4] === "+" ? local - ahead : local + ahead;
}

function timeOfDay(text) {
  const parts = TIME_OF_DAY.exec(text);
  demand(parts);
  return clock(parts[1]) + (parts[2] ? offset(parts[2], parts[3], parts[4], parts[5], parts[6]) : "");
}

function bytesOf(node, length) {
  demand(node.t === "bytes" && node.v.length === length);
  return node.v;
}

function text(node) {
  demand(node.t === "text");
  return node.v;
}

function within(node, least, most) {
  const n = integer(node);
  demand(n >= least && n <= most);
  return n;
}

function magnitude(node) {
  demand(node.t === "bytes" && node.v.length <= 8192);
  return node.v.length ? BigInt("0x" + hex(node.v)) : 0n;
}

// An integer of any size, in whichever form (TW-VAL-012).
function integer(node) {
  if (node.t === "int") return node.v;
  demand(node.t === "tag" && (node.v.number === 2n || node.v.number === 3n));
  const n = magnitude(node.v.content);
  return node.v.number === 2n ? n : -1n - n;
}

function pair(node) {
  demand(node.t === "array" && node.v.length === 2);
  return node.v;
}

// Reads the nodes of one payload; `kinds` are those of its declarations, in order.
export class Values {
  constructor(kinds) {
    this.kinds = kinds;
    this.references = kinds.map(() => 0);
    this.found = new Set();
  }

  // What a node says and the text under which it is a key: [meaning, key].
  read(node, mayRefer) {
    switch (node.t) {
      case "int":
        return [integerMeaning(node.v), integerKey(node.v)];
      case "float":
        return [floatMeaning(node.v), floatKey(node.v)];
      case "text":
        return [node.v, "t" + ascii(node.v)];
      case "bytes":
        return [{ bytes: hex(node.v) }, "b" + hex(node.v)];
      case "simple":
        demand(node.v >= 20 && node.v <= 22);
        return [[false, true, null][node.v - 20], simpleKey(node.v)];
      case "array": {
        const read = node.v.map((item) => this.read(item, mayRefer));
        return [read.map(([said]) => said), "[" + read.map(([, key]) => key).join() + "]"];
      }
      case "map":
        return this.map(node, mayRefer);
      default:
        return this.tagged(node.v.number, node.v.content, mayRefer);
    }
  }

  map(node, mayRefer) {
    const keys = new Set();
    const said = [];
    const parts = [];
    for (const [name, value] of node.v) {
      const [nameSaid, nameKey] = this.read(name, false);
      const [valueSaid, valueKey] = this.read(value, mayRefer);
      if (keys.has(nameKey)) this.found.add("DUPLICATE_KEY");
      keys.add(nameKey);
      said.push([nameSaid, valueSaid]);
      parts.push(nameKey + ":" + valueKey);
    }
    return [{ map: said }, "{" + parts.sort().join() + "}"];
  }

  tagged(number, content, mayRefer) {
    const same = (said) => [said, ascii(said)];
    switch (number) {
      case 0n: {
        const said = moment(text(content));
        return [{ datetime: said }, "moment" + instant(said)];
      }
      case 2n:
      case 3n: {
        const n = number === 2n ? magnitude(content) : -1n - magnitude(content);
        return [integerMeaning(n), integerKey(n)];
      }
      case 4n: {
        const [exponent, mantissa] = pair(content);
        const e = within(exponent, -999999n, 999999n);
        const m = integer(mantissa);
        return [{ decimal: [Number(e), integerMeaning(m)] }, decimalKey(e, m)];
      }
      case 30n: {
        const [n, d] = pair(content).map(integer);
        demand(d >= 1n);
        const common = gcd(n, d);
        const said = { rational: [integerMeaning(n / common), integerMeaning(d / common)] };
        return [said, rationalKey(n, d)];
      }
      case 37n:
        return same({ uuid: hex(bytesOf(content, 16)) });
      case 52n:
        return same({ ipv4: hex(bytesOf(content, 4)) });
      case 54n:
        return same({ ipv6: hex(bytesOf(content, 16)) });
      case 258n:
        return this.set(content, mayRefer);
      case 1004n:
        return same({ date: date(text(content)) });
      case 60000n:
        return this.reference(content, mayRefer);
      case 60001n: {
        const [day, time] = text(content).split("T");
        demand(time !== undefined && text(content).length <= 26);
        return same({ local_datetime: `${date(day)}T${clock(time)}` });
      }
      case 60002n:
        return same({ time: timeOfDay(text(content)) });
      case 60003n: {
        demand(content.t === "array" && content.v.length === 3);
        const bounds = [[-999999999n, 999999999n], [0n, 86399n], [0n, 999999n]];
        return same({ duration: content.v.map((part, i) => Number(within(part, ...bounds[i]))) });
      }
      case 60004n:
        return this.oddDecimal(text(content));
      default:
        throw new Refused("FORBIDDEN_TAG");
    }
  }

  oddDecimal(written) {
    const parts = ODD_DECIMAL.exec(written);
    demand(parts);
    if (parts[2] === "NaN") return [{ decimal: written }, nanKey()];
    if (parts[2]) return [{ decimal: written }, parts[1] ? "#-inf" : "#inf"];
    const exponent = Number(parts[4]) * (parts[3] === "-" ? -1 : 1);
    return [{ decimal: `-0E${exponent < 0 ? "-" : "+"}${Math.abs(exponent)}` }, "#0"];
  }

  set(content, mayRefer) {
    demand(content.t === "array");
    const members = new Map();
    for (const member of content.v) {
      const [said, key] = this.read(member, mayRefer);
      demand(!members.has(key));
      members.set(key, ascii(said));
    }
    const said = [...members.values()].sort().map((member) => JSON.parse(member));
    return [{ set: said }, "set(" + [...members.keys()].sort().join() + ")"];
  }

  reference(content, mayRefer) {
    demand(mayRefer);
    const [index, details] = content.t === "array" ? pair(content) : [content, null];
    const i = Number(within(index, 0n, SAFE));
    demand(i < this.kinds.length);
    this.references[i] += 1;
    const said = { reference: i };
    if (details) said.details = this.details(details);
    return [said, "ref" + i];
  }

  details(node) {
    demand(node.t === "map");
    const said = this.map(node, false)[0].map;
    const kept = [];
    node.v.forEach(([name, value], i) => {
      text(name);
      const nothing = value.t === "simple" && value.v === 22;
      if (name.v === "name" || name.v === "content_type") demand(nothing || value.t === "text");
      else if (name.v === "size" || name.v === "home") {
        if (!nothing) within(value, 0n, SAFE);
      } else if (!nothing && value.t !== "text") integer(value);
      kept.push(said[i]);
    });
    return kept;
  }

  // TW-VAL-031: each declaration is referred to, and one whose data can be read once, once.
  checkReferences() {
    this.kinds.forEach((kind, i) => {
      const many = kind === PROMISE || kind === FUNCTION;
      demand(many ? this.references[i] >= 1 : this.references[i] === 1);
    });
  }
}

// The meaning of a payload that is one value, or with `count` of an ITEMS payload.
export function decodeValue(bytes, kinds, nesting, count) {
  const found = new Set();
  const note = (code) => found.add(code === "MALFORMED" ? "MALFORMED_VALUE" : code);
  const most = Math.min(nesting, 64) + (count === undefined ? 0 : 1);
  const values = new Values(kinds);
  let said;
  try {
    const [node, end] = readItem(bytes, 0, most, note);
    demand(end === bytes.length);
    if (count !== undefined) demand(node.t === "array" && node.v.length === count);
    [said] = values.read(node, true);
    values.checkReferences();
  } catch (refused) {
    if (!(refused instanceof Refused)) throw refused;
    note(refused.code);
  }
  const codes = new Set([...found, ...values.found]);
  return codes.size ? { errors: [...codes].sort() } : { meaning: said };
}
