// A WebSocket as a transport of batches: that of the platform where it has one, else RFC 6455 over node:net.
//
// `handlers` are batch(bytes), alive(), broken(name of a code) and lost(); what comes back has send(batch) and close().

import { createHash, randomBytes } from "node:crypto";
import { connect } from "node:net";

const FAMILY = "telewire.1";
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const HEAD = 16384; // what the answer to the handshake may have

export function openWebSocket(url, handlers, longest) {
  return globalThis.WebSocket ? openNative(url, handlers, longest) : openPlain(new URL(url), handlers, longest);
}

function openNative(url, handlers, longest) {
  return new Promise((resolve, reject) => {
    const socket = new globalThis.WebSocket(url, [FAMILY]);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      if (socket.protocol !== FAMILY) {
        socket.close();
        return reject(new Error(`The server at ${url} does not speak ${FAMILY}.`));
      }
      return resolve({ send: (batch) => socket.send(batch), close: () => socket.close() });
    };
    socket.onerror = () => reject(new Error(`There is no WebSocket at ${url}.`));
    socket.onclose = () => handlers.lost();
    socket.onmessage = ({ data }) => {
      if (typeof data === "string") return handlers.broken("MALFORMED");
      return data.byteLength > longest ? handlers.broken("BATCH_TOO_LARGE") : handlers.batch(new Uint8Array(data));
    };
  });
}

function openPlain(url, handlers, longest) {
  if (url.protocol !== "ws:") return Promise.reject(new Error(`Only ws:// can be opened here, not ${url.protocol}//.`));
  return new Promise((resolve, reject) => {
    const key = randomBytes(16).toString("base64");
    const socket = connect(Number(url.port || 80), url.hostname.replace(/^\[|\]$/g, ""));
    const reader = new Reader(handlers, longest, (opcode, payload) => socket.write(frame(opcode, payload)));
    let head = Buffer.alloc(0);
    let open = false;
    socket.setNoDelay(true);
    socket.on("connect", () => {
      const lines = [
        `GET ${url.pathname}${url.search} HTTP/1.1`, `Host: ${url.host}`, "Upgrade: websocket", "Connection: Upgrade",
        `Sec-WebSocket-Key: ${key}`, "Sec-WebSocket-Version: 13", `Sec-WebSocket-Protocol: ${FAMILY}`, "", "",
      ];
      socket.write(lines.join("\r\n"));
    });
    socket.on("data", (piece) => {
      if (open) return reader.take(piece);
      head = Buffer.concat([head, piece]);
      const end = head.indexOf("\r\n\r\n");
      if (end < 0 && head.length <= HEAD) return undefined;
      const refused = end < 0 ? "an endless head" : refusal(head.subarray(0, end).toString("latin1"), key);
      if (refused) {
        socket.destroy();
        return reject(new Error(`The server at ${url} answered the handshake with ${refused}.`));
      }
      open = true;
      resolve({ send: (batch) => socket.write(frame(2, batch)), close: () => socket.end(frame(8, Buffer.from([3, 232]))) });
      return reader.take(head.subarray(end + 4));
    });
    socket.on("error", (error) => reject(new Error(`There is no WebSocket at ${url}: ${error.message}.`)));
    socket.on("close", () => {
      reject(new Error(`The server at ${url} hung up.`));
      if (open) handlers.lost();
    });
  });
}

// Why the answer to the handshake does not do, or null.
function refusal(head, key) {
  const [status, ...lines] = head.split("\r\n");
  if (!/^HTTP\/1\.1 101( |$)/.test(status)) return JSON.stringify(status.slice(0, 80));
  const fields = new Map(lines.map((line) => [line.split(":")[0].toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]));
  const accept = createHash("sha1").update(key + GUID).digest("base64");
  if (fields.get("sec-websocket-accept") !== accept) return "a wrong Sec-WebSocket-Accept";
  return fields.get("sec-websocket-protocol") === FAMILY ? null : "another subprotocol";
}

// A whole frame of a client: masked, as RFC 6455 §5.3 demands.
function frame(opcode, payload) {
  const mask = randomBytes(4);
  const length = payload.length;
  const head = Buffer.alloc(length < 126 ? 2 : length < 65536 ? 4 : 10);
  head[0] = 0x80 | opcode;
  head[1] = 0x80 | (length < 126 ? length : length < 65536 ? 126 : 127);
  if (head.length === 4) head.writeUInt16BE(length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2);
  const body = Buffer.from(payload);
  for (let i = 0; i < length; i++) body[i] ^= mask[i & 3];
  return Buffer.concat([head, mask, body]);
}

class Reader {
  constructor(handlers, longest, write) {
    this.handlers = handlers;
    this.longest = longest;
    this.write = write;
    this.waiting = Buffer.alloc(0);
    this.parts = [];
    this.done = false;
  }

  take(piece) {
    if (this.done) return;
    this.handlers.alive();
    this.waiting = Buffer.concat([this.waiting, piece]);
    while (!this.done && this.one()) continue;
  }

  fail(name) {
    this.done = true;
    this.handlers.broken(name);
  }

  // Takes one frame, if it is there.
  one() {
    const { waiting } = this;
    if (waiting.length < 2) return false;
    const [first, second] = waiting;
    const short = second & 127;
    const at = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (waiting.length < at) return false;
    const length = short < 126 ? short : short === 126 ? waiting.readUInt16BE(2) : Number(waiting.readBigUInt64BE(2));
    const opcode = first & 15;
    if (first & 0x70 || second & 0x80) return this.fail("PROTOCOL_ERROR");
    const held = this.parts.reduce((sum, part) => sum + part.length, 0);
    if (opcode < 8 && held + length > this.longest) return this.fail("BATCH_TOO_LARGE");
    if (waiting.length < at + length) return false;
    const payload = waiting.subarray(at, at + length);
    this.waiting = waiting.subarray(at + length);
    this.frame(opcode, payload, Boolean(first & 0x80));
    return true;
  }

  frame(opcode, payload, last) {
    if (opcode === 8) this.write(8, payload.subarray(0, 2));
    else if (opcode === 9) this.write(10, payload);
    else if (opcode === 1) this.fail("MALFORMED");
    else if (opcode === 0 || opcode === 2) {
      this.parts.push(payload);
      if (last) this.handlers.batch(Uint8Array.from(Buffer.concat(this.parts.splice(0))));
    }
  }
}
