"""What a scenario expects against what has come: patterns of frames and events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cbor2

from telewire_spec.layout import CODES, DECLARING
from telewire_spec.plain import encode, is_form, number, payload

__all__ = ["differs"]

# Any, throughout: what YAML gives, and what a frame or event holds.
PAYLOADS = ("value", "arguments", "named", "items", "payload")


def differs(pattern: Mapping[str, Any], found: Mapping[str, Any], kind: str) -> str | None:
    """What is different in ``found``, a frame (``kind`` is "frame") or an event; None where it fits."""
    [(name, fields)] = pattern.items()
    if name != found[kind]:
        return f"{found[kind]} and not {name}"
    for field, wanted in (fields or {}).items():
        if field in PAYLOADS:
            if field != "named" and (said := _payload_differs(fields, found)):
                return said
        elif field == "code":
            codes = wanted if isinstance(wanted, list) else [wanted]
            if found.get("code") not in [CODES.get(each, each) for each in codes]:
                return f"the code {found.get('code')} and not {wanted}"
        elif not fits(wanted, found.get(field)):
            return f"{field} {found.get(field)!r} and not {wanted!r}"
    told = set(fields or {})
    if name in DECLARING and told & set(PAYLOADS) and "declare" not in told and found.get("declare"):
        return f"the declarations {found['declare']}, which nobody expects"
    return None


def _payload_differs(fields: Mapping[str, Any], found: Mapping[str, Any]) -> str | None:
    wanted = fields.get("payload")
    if isinstance(wanted, dict) and "$length" in wanted:
        return (
            None if len(found["payload"]) == number(wanted["$length"]) else f"{len(found['payload'])} bytes"
        )
    value = fields.get("value")
    if is_form(value) and not encodes(value):
        try:
            return (
                None
                if fits(value, cbor2.loads(found["payload"]))
                else f"the payload {found['payload'].hex()}"
            )
        except cbor2.CBORDecodeError:
            return f"the payload {found['payload'].hex()}, which is no value"
    data = payload(dict(fields)) or b""
    if data == found["payload"]:
        return None
    try:
        if "payload" not in fields and encode_loaded(data) == encode_loaded(found["payload"]):
            return None
    except (cbor2.CBORDecodeError, ValueError):
        pass
    return f"the payload {found['payload'][:100].hex()} and not {data[:100].hex()}"


def encode_loaded(data: bytes) -> bytes:
    """Another form of the same value, so that two encodings of it are equal."""
    return cbor2.dumps(cbor2.loads(data), canonical=True)


def encodes(value: Any) -> bool:
    """Whether a form stands for a value, and not for many."""
    return next(iter(value)) not in ("$any", "$absent", "$min", "$max", "$one", "$length", "$type")


def fits(wanted: Any, found: Any) -> bool:
    """Whether a field has what is wanted."""
    if is_form(wanted):
        [(name, content)] = wanted.items()
        if name == "$absent":
            return found is None
        if name == "$any":
            return found is not None
        if name == "$min":
            return bool(found is not None and found >= number(content))
        if name == "$max":
            return bool(found is not None and found <= number(content))
        if name == "$one":
            return any(fits(each, found) for each in content)
        if name == "$length":
            return len(found) == number(content)
        if name == "$type":
            return bool(type(found).__name__ == content)
        if name == "$bytes":
            return bool(found == bytes.fromhex(content))
        return bool(found == number(wanted))
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(fits(one, two) for one, two in zip(wanted, found, strict=True))
        )
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(fits(each, found.get(key)) for key, each in wanted.items())
    if isinstance(wanted, float) or isinstance(found, float):
        return isinstance(found, int | float) and abs(found - wanted) < 1e-6
    return type(wanted) is type(found) and bool(wanted == found) and encode(wanted) == encode(found)
