"""Frames as maps of names and fields, and the arrays that they are on the wire; knows nothing of telewire.

What arrives is read field by field after the grammar has allowed it; what is sent may be as wrong as a
scenario wants it.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, TypeAlias

import cbor2

from telewire_spec.plain import encode, head, number, payload

__all__ = ["CODES", "KINDS", "NAMES", "Frame", "code", "make_frame", "read_batch", "show"]

# Any: what a frame's field holds, by its type.
Frame: TypeAlias = dict[str, Any]

TYPES: Final = {
    **{0: "HELLO", 1: "RESUME", 2: "RESUMED", 3: "ACK", 4: "PING", 5: "PONG", 6: "POSITION"},
    **{16: "CALL", 17: "END", 18: "ERROR", 19: "ITEM", 20: "ITEMS", 21: "CHUNK", 22: "FRAGMENT"},
    **{23: "STOP", 24: "RESET", 25: "GRANT", 26: "GOAWAY", 27: "CLOSE"},
}
NAMES: Final = {name: kind for kind, name in TYPES.items()}

FIELDS: Final = {
    "HELLO": ("version_min", "version_max", "features", "limits", "session", "token"),
    "RESUME": ("session", "token", "attempt", "received"),
    "RESUMED": ("attempt", "received"),
    "ACK": ("received",),
    "PING": ("number",),
    "PONG": ("number",),
    "POSITION": ("position",),
    "CALL": ("stream", "target", "flags", "size", "payload"),
    "END": ("stream", "flags", "size", "payload"),
    "ERROR": ("stream", "code", "flags", "size", "payload"),
    "ITEM": ("stream", "flags", "size", "payload"),
    "ITEMS": ("stream", "flags", "count", "payload"),
    "CHUNK": ("stream", "flags", "payload"),
    "FRAGMENT": ("stream", "flags", "payload"),
    "STOP": ("stream", "code", "payload"),
    "RESET": ("stream", "code", "payload"),
    "GRANT": ("stream", "limit"),
    "GOAWAY": ("calls", "code", "text"),
    "CLOSE": ("code", "text"),
}
DECLARING: Final = ("CALL", "END", "ERROR", "ITEM", "FRAGMENT")
SUGAR: Final = {"value", "arguments", "named", "items", "part", "declare", "extensions"}

KINDS: Final = {"promise": 1, "items": 2, "bytes": 3, "function": 4, "channel": 5}
KIND_NAMES: Final = {kind: name for name, kind in KINDS.items()}

CODES: Final = {
    **{"NONE": 0, "ABORTED": 1, "INTERNAL": 2, "INVALID_ARGUMENT": 3, "FUNCTION_NOT_FOUND": 4},
    **{"CANCELLED": 5, "NOT_STARTED": 6, "STOPPED": 7, "OUTCOME_UNKNOWN": 8, "DEADLINE_EXCEEDED": 9},
    **{"RESOURCE_EXHAUSTED": 10, "GOING_AWAY": 11, "REFERENCE_RELEASED": 12, "CHANNEL_CLOSED": 13},
    **{"UNSUPPORTED": 14, "TRANSPORT_UNSUITABLE": 15, "SESSION_LOST": 16, "MALFORMED_VALUE": 17},
    **{"MESSAGE_TOO_LARGE": 18, "PROTOCOL_ERROR": 32, "MALFORMED": 33, "NESTING_TOO_DEEP": 34},
    **{"DUPLICATE_KEY": 35, "FORBIDDEN_TAG": 36, "BATCH_TOO_LARGE": 37, "INVALID_FRAME": 38},
    **{"UNKNOWN_STREAM": 39, "INVALID_STATE": 40, "FLOW_CONTROL": 41, "LIMIT_EXCEEDED": 42},
    **{"VERSION_MISMATCH": 43, "HELLO_TIMEOUT": 44, "IDLE_TIMEOUT": 45},
}
CODE_NAMES: Final = {number: name for name, number in CODES.items()}


@cache
def limit_numbers() -> dict[str, int]:
    """Name → number of the limits that travel."""
    # Written here and not read from the registry, which is not in the wheel; a test compares the two.
    rows = csv.reader(LIMITS.split())
    return {name: int(number) for number, name in rows}


LIMITS: Final = """0,fragment_bytes 1,batch_bytes 2,message_bytes 3,stream_window 4,open_calls 5,open_streams
6,credited_streams 7,references 8,argument_bytes 9,replay_bytes 10,nesting 11,name_bytes 12,metadata_bytes
13,reason_bytes 14,batch_frames 15,item_cost"""


def code(value: Any) -> int:
    """A code by its name or number."""
    return CODES[value] if isinstance(value, str) else number(value)


# ---- making ---------------------------------------------------------------------------------------


def make_frame(written: Mapping[str, Any]) -> bytes:
    """The bytes of a frame as a scenario writes it.

    Raises:
        ValueError: it is none of the forms of a frame, or has a field that its type does not have.
    """
    [(name, content)] = written.items()
    if name == "array":
        return encode(content)
    if name == "hex":
        return bytes.fromhex(content)
    if name not in FIELDS:
        raise ValueError(f"There is no frame {name}.")
    unknown = set(content) - set(FIELDS[name]) - SUGAR
    if unknown:
        raise ValueError(f"{name} has no field {sorted(unknown)[0]}.")
    parts = [encode(NAMES[name])] + [_field(name, field, content) for field in FIELDS[name]]
    if "declare" in content:
        parts.append(encode([_declaration(each) for each in content["declare"]]))
    if "extensions" in content:
        parts.append(encode(content["extensions"]))
    return head(4, len(parts)) + b"".join(parts)


def _declaration(written: Any) -> list[Any]:
    stream, kind, *rest = written
    return [number(stream), KINDS.get(kind, kind), *rest]


def _field(name: str, field: str, content: Mapping[str, Any]) -> bytes:
    if field == "payload":
        data = _part(content)
        return head(2, len(data)) + data
    if field == "size" and "size" not in content:
        return encode(len(payload(dict(content)) or b""))
    if field == "count" and "count" not in content:
        return encode(len(content.get("items", ())))
    if field == "flags":
        return encode(content.get("flags", 0))
    if field == "code":
        return encode(code(content.get("code", 0)))
    if field in ("stream", "limit", "received", "attempt", "calls") or (
        field == "target" and not isinstance(content.get("target"), str)
    ):
        return encode(number(content.get(field, 0)))
    if field == "limits":
        return _limits(content.get("limits", {}))
    default: dict[str, Any] = {
        "features": [],
        "session": None,
        "token": None,
        "text": "",
        "version_min": 1,
        "version_max": 1,
    }
    return encode(content[field] if field in content else default.get(field, 0))


def _limits(written: Mapping[Any, Any]) -> bytes:
    named = limit_numbers()
    return encode(dict(sorted((named.get(key, key), value) for key, value in written.items())))


def _part(content: Mapping[str, Any]) -> bytes:
    data = payload(dict(content)) or b""
    if "part" in content:
        begin, end = content["part"]
        return data[begin:end]
    return data


# ---- reading --------------------------------------------------------------------------------------


def read_batch(batch: bytes) -> tuple[list[tuple[Frame, bytes]], bool]:
    """The frames of a batch that the grammar allows, with their bytes; whether those are deterministic."""
    fields = cbor2.loads(batch)
    frames = [(_named(each), encode_again(each)) for each in fields]
    again = head(4, len(frames)) + b"".join(data for _, data in frames)
    return frames, again == batch


def encode_again(value: Any) -> bytes:
    """The deterministic encoding of a frame that was read."""
    if isinstance(value, dict):
        pairs = sorted((encode_again(key), encode_again(content)) for key, content in value.items())
        return head(5, len(pairs)) + b"".join(key + content for key, content in pairs)
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(encode_again, value))
    return encode(value)


def _named(fields: list[Any]) -> Frame:
    kind, *rest = fields
    name = TYPES.get(kind)
    if name is None:
        return {"frame": "UNKNOWN", "type": kind, "rest": rest}
    frame: Frame = {"frame": name, **dict(zip(FIELDS[name], rest, strict=False))}
    rest = rest[len(FIELDS[name]) :]
    if rest and isinstance(rest[0], list):
        frame["declare"] = [[one[0], KIND_NAMES.get(one[1], one[1]), *one[2:]] for one in rest.pop(0)]
    if rest:
        frame["extensions"] = rest[0]
    return frame


def show(frame: Frame) -> str:
    """A frame in one line, for people."""
    parts = []
    for name, value in frame.items():
        if name == "frame":
            continue
        if isinstance(value, bytes):
            shown = f"h'{value[:24].hex()}{'…' if len(value) > 24 else ''}'"
        elif name == "code":
            shown = CODE_NAMES.get(value, str(value))
        elif name in ("limits", "token"):
            continue
        else:
            shown = repr(value)[:80]
        parts.append(f"{name}={shown}")
    return f"{frame['frame']} {' '.join(parts)}".rstrip()
