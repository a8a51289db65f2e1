// The numbers of registries/errors.csv, and what a code means where it may not stand (TW-ERR-002).

export const CODES = {
  NONE: 0,
  ABORTED: 1,
  INTERNAL: 2,
  INVALID_ARGUMENT: 3,
  FUNCTION_NOT_FOUND: 4,
  CANCELLED: 5,
  NOT_STARTED: 6,
  STOPPED: 7,
  OUTCOME_UNKNOWN: 8,
  DEADLINE_EXCEEDED: 9,
  RESOURCE_EXHAUSTED: 10,
  GOING_AWAY: 11,
  REFERENCE_RELEASED: 12,
  CHANNEL_CLOSED: 13,
  UNSUPPORTED: 14,
  TRANSPORT_UNSUITABLE: 15,
  SESSION_LOST: 16,
  MALFORMED_VALUE: 17,
  MESSAGE_TOO_LARGE: 18,
  PROTOCOL_ERROR: 32,
  MALFORMED: 33,
  NESTING_TOO_DEEP: 34,
  DUPLICATE_KEY: 35,
  FORBIDDEN_TAG: 36,
  BATCH_TOO_LARGE: 37,
  INVALID_FRAME: 38,
  UNKNOWN_STREAM: 39,
  INVALID_STATE: 40,
  FLOW_CONTROL: 41,
  LIMIT_EXCEEDED: 42,
  VERSION_MISMATCH: 43,
  HELLO_TIMEOUT: 44,
  IDLE_TIMEOUT: 45,
};

export const NAMES = Object.fromEntries(Object.entries(CODES).map(([name, code]) => [code, name]));

// The code and payload of an ERROR (least 1), STOP or RESET (least 0) as they are to be taken.
export function ofStream(code, payload, least) {
  const known = code >= least && code <= CODES.MESSAGE_TOO_LARGE && code !== CODES.SESSION_LOST;
  return known ? { code, payload } : { code: CODES.INTERNAL, payload: new Uint8Array() };
}

export function ofClose(code) {
  const alone = [CODES.NONE, CODES.GOING_AWAY, CODES.UNSUPPORTED, CODES.SESSION_LOST];
  return alone.includes(code) || (code >= 32 && code <= CODES.IDLE_TIMEOUT) ? code : CODES.PROTOCOL_ERROR;
}

// Which of several codes of one batch is told (TW-FRM-008): any will do, but BATCH_TOO_LARGE comes first.
export function firstOf(names) {
  const order = ["BATCH_TOO_LARGE", "MALFORMED", "FORBIDDEN_TAG", "DUPLICATE_KEY", "NESTING_TOO_DEEP"];
  return order.find((name) => names.includes(name)) ?? names[0];
}
