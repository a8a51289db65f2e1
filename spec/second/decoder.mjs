// A second, naive decoder of telewire, written from the specification alone: lines of JSON in, verdicts out.
//
// Each line of the input is {"kind", "hex"} with, where they matter, "limits" (names of limits to numbers),
// "declarations" (kinds, for a value or items) and "count" (for items). Each line of the output is
// {"meaning": …} or {"errors": [the codes of the rules that were found broken]}.

import { createInterface } from "node:readline";
import { ascii } from "./cbor.mjs";
import { DEFAULTS, decodeBatch, splitStream } from "./frames.mjs";
import { decodeValue } from "./values.mjs";

export function judge({ kind, hex, limits: stated = {}, declarations = [], count }) {
  const bytes = Uint8Array.from(Buffer.from(hex, "hex"));
  const limits = { ...DEFAULTS, ...stated };
  switch (kind) {
    case "batch":
      return decodeBatch(bytes, limits);
    case "frame": {
      const batch = Uint8Array.from([0x81, ...bytes]);
      const verdict = decodeBatch(batch, limits);
      return verdict.meaning ? { meaning: verdict.meaning[0] } : verdict;
    }
    case "value":
      return decodeValue(bytes, declarations, limits.nesting);
    case "items":
      return decodeValue(bytes, declarations, limits.nesting, count);
    case "stream":
      return splitStream(bytes, limits);
    default:
      throw new Error(`The kind ${kind} is none of batch, frame, value, items and stream.`);
  }
}

const lines = createInterface({ input: process.stdin, crlfDelay: Infinity });
for await (const line of lines) {
  if (line) process.stdout.write(ascii(judge(JSON.parse(line))) + "\n");
}
