// CBOR to values of JavaScript: nodes of cbor.mjs as numbers, texts, bytes, arrays and objects.

import { readItem } from "./cbor.mjs";
import { Tag } from "./encode.mjs";

const DEEPEST = 200;

export function nodeOf(bytes, depth = DEEPEST) {
  const refuse = (code) => {
    throw new TypeError(code);
  };
  const [node, end] = readItem(bytes, 0, depth, refuse);
  if (end !== bytes.length) refuse("MALFORMED");
  return node;
}

// The value of a node; `tagged(number, content)` makes something of a tag. A map whose keys are all texts is an object.
export function plainOf(node, tagged = (number, content) => new Tag(number, plainOf(content, tagged))) {
  switch (node.t) {
    case "int":
      return BigInt(Number(node.v)) === node.v && Number.isSafeInteger(Number(node.v)) ? Number(node.v) : node.v;
    case "array":
      return node.v.map((each) => plainOf(each, tagged));
    case "map": {
      const pairs = node.v.map(([key, value]) => [plainOf(key, tagged), plainOf(value, tagged)]);
      return pairs.every(([key]) => typeof key === "string") ? Object.fromEntries(pairs) : new Map(pairs);
    }
    case "tag":
      return tagged(Number(node.v.number), node.v.content);
    case "simple":
      return [false, true, null, undefined][node.v - 20];
    default:
      return node.v;
  }
}

// The encoded items of an ITEMS payload, or null where it is no array of `count` (TW-ERR-030, TW-ERR-032).
export function splitItems(payload, count, nesting) {
  const items = [];
  const refuse = (code) => {
    throw new TypeError(code);
  };
  try {
    const node = nodeOf(payload, nesting + 1);
    if (node.t !== "array" || node.v.length !== count) return null;
    // Any definite head may stand there (TW-FRM-042): what remains when the items are read is its length.
    const width = payload[0] & 31;
    let at = width < 24 ? 1 : 1 + (1 << (width - 24));
    while (items.length < count) {
      const [, end] = readItem(payload, at, nesting, refuse);
      items.push(payload.subarray(at, end));
      at = end;
    }
  } catch {
    return null;
  }
  return items;
}
