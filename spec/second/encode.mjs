// Writes CBOR (RFC 8949): shortest heads, definite lengths, floats in 64 bits, the keys of a Map as they stand.

const SAFE = Number.MAX_SAFE_INTEGER;
const utf8 = new TextEncoder();

export class Tag {
  constructor(number, content) {
    this.number = number;
    this.content = content;
  }
}

// Bytes that are CBOR already.
export class Raw {
  constructor(bytes) {
    this.bytes = bytes;
  }
}

export function head(major, argument) {
  const n = BigInt(argument);
  const width = n < 24n ? 0 : n < 0x100n ? 1 : n < 0x10000n ? 2 : n < 0x100000000n ? 4 : 8;
  const bytes = new Uint8Array(1 + width);
  bytes[0] = (major << 5) | (width === 0 ? Number(n) : { 1: 24, 2: 25, 4: 26, 8: 27 }[width]);
  for (let i = 0; i < width; i++) bytes[width - i] = Number((n >> BigInt(8 * i)) & 0xffn);
  return bytes;
}

function integer(n) {
  if (n >= 0n && n < 1n << 64n) return [head(0, n)];
  if (n < 0n && n >= -(1n << 64n)) return [head(1, -1n - n)];
  const digits = (n < 0n ? -1n - n : n).toString(16);
  const bytes = Uint8Array.from(Buffer.from(digits.length % 2 ? "0" + digits : digits, "hex"));
  return [head(6, n < 0n ? 3 : 2), head(2, bytes.length), bytes];
}

function parts(value) {
  if (value === null || value === undefined) return [Uint8Array.of(0xf6)];
  if (value instanceof Raw) return [value.bytes];
  if (value instanceof Tag) return [head(6, value.number), ...parts(value.content)];
  if (value instanceof Uint8Array) return [head(2, value.length), value];
  if (Array.isArray(value)) return [head(4, value.length), ...value.flatMap(parts)];
  switch (typeof value) {
    case "boolean":
      return [Uint8Array.of(value ? 0xf5 : 0xf4)];
    case "bigint":
      return integer(value);
    case "number": {
      if (Number.isInteger(value) && Math.abs(value) <= SAFE && !Object.is(value, -0)) return integer(BigInt(value));
      // −2^53 is an sref, too.
      if (value === -SAFE - 1) return integer(BigInt(value));
      const bytes = new Uint8Array(9);
      bytes[0] = 0xfb;
      new DataView(bytes.buffer).setFloat64(1, value);
      return [bytes];
    }
    case "string": {
      const bytes = utf8.encode(value);
      return [head(3, bytes.length), bytes];
    }
    case "object": {
      const pairs = value instanceof Map ? [...value] : Object.entries(value);
      return [head(5, pairs.length), ...pairs.flatMap(([key, each]) => [...parts(key), ...parts(each)])];
    }
    default:
      throw new TypeError(`A ${typeof value} has no form on the wire; pass numbers, texts, bytes, arrays or maps.`);
  }
}

export function encode(value) {
  return Uint8Array.from(Buffer.concat(parts(value)));
}
