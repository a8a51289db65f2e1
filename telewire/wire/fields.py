"""Checks of the fields of a frame, shared by all layouts; each refusal is a sentence and a code."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any, Final, NoReturn

import cbor2

from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.limits import Limits
from telewire.wire import frames as f
from telewire.wire.strict import show

__all__ = [
    "BEYOND",
    "check_plain",
    "need",
    "refuse_frame",
    "take_bytes",
    "take_extensions",
    "take_more",
    "take_payload",
    "take_single",
    "take_size",
    "take_stream",
    "take_tail",
    "take_text",
    "take_uint",
]

BEYOND: Final = 1 << 53
"""Integers of the protocol stay below it, whatever type of number a language has."""

_LOWEST: Final = -BEYOND  # -1 - n for the highest n.


def refuse_frame(problem: str, code: ErrorCode = ErrorCode.INVALID_FRAME) -> NoReturn:
    """Raise RemoteProtocolError for a frame that the CDDL or a limit does not allow."""
    raise RemoteProtocolError(f"{problem}.", code)


# ---- fields -------------------------------------------------------------------------------------
# Any: what cbor2 decoded; these functions are what gives it a type.


def take_uint(value: Any, what: str) -> int:
    """Return a protocol integer."""
    if type(value) is int and 0 <= value < BEYOND:
        return value
    refuse_frame(f"{what} is an integer from 0 to 2^53 - 1, not {show(value)}")


def take_stream(value: Any, what: str) -> int:
    """Return a signed stream reference (TW-FRM-010)."""
    if type(value) is int and _LOWEST <= value < BEYOND:
        return value
    refuse_frame(f"{what} names its stream by an integer from -2^53 to 2^53 - 1, not {show(value)}")


def take_payload(value: Any, what: str, limits: Limits) -> bytes:
    """Return the payload of one frame."""
    if type(value) is not bytes:
        refuse_frame(f"{what} carries its payload as a byte string, not {show(value)}")
    if len(value) > limits.fragment_bytes:
        refuse_frame(
            f"{what} carries {len(value)} bytes; one frame carries at most {limits.fragment_bytes}: "
            "send fragments"
        )
    return value


def take_bytes(value: Any, what: str) -> bytes:
    """Return a byte string."""
    if type(value) is bytes:
        return value
    refuse_frame(f"{what} is a byte string, not {show(value)}")


def take_text(value: Any, what: str, limit: int, name: str) -> str:
    """Return a text of at most ``limit`` bytes; ``name`` is the limit's."""
    if type(value) is not str:
        refuse_frame(f"{what} is a text string, not {show(value)}")
    # No character takes more than four bytes.
    if len(value) * 4 > limit and len(value.encode()) > limit:
        refuse_frame(
            f"{what} has {len(value.encode())} bytes; {name} allows {limit}", ErrorCode.LIMIT_EXCEEDED
        )
    return value


def take_more(flags: Any, what: str) -> bool:
    """Check the flags of a frame whose payload may go on, and say whether it does."""
    if type(flags) is not int or flags & ~7:
        refuse_frame(f"{what} has the flags {show(flags)}; only 1, 2 and 4 are assigned, the others are zero")
    if flags & 6:
        refuse_frame(
            f"{what} has the flags {flags}; compressed (2) and supersedes (4) need a feature",
            ErrorCode.UNSUPPORTED,
        )
    return flags == 1


def take_single(flags: Any, what: str) -> int:
    """Check the flags of a frame whose payload is never fragmented."""
    if take_more(flags, what):
        refuse_frame(f"{what} is never fragmented, but has the flag 1 (more)")
    return 0


def take_size(size: Any, payload: bytes, more: bool, what: str) -> int:
    """Check the size of a payload against its first or only part (TW-FRM-043)."""
    if type(size) is not int or not 0 <= size < BEYOND:
        refuse_frame(f"The size of {what} is an integer from 0 to 2^53 - 1, not {show(size)}")
    if more and not 0 < len(payload) < size:
        refuse_frame(f"{what} announces {size} bytes in fragments, but its first part has {len(payload)}")
    if not more and len(payload) != size:
        refuse_frame(
            f"{what} announces {size} bytes, but carries {len(payload)}; set the flag 1 if more follow"
        )
    return size


# ---- what may stand at the end of a frame ---------------------------------------------------------


def _declared(item: list[Any], at: int, more: bool, limits: Limits) -> tuple[f.Declaration, ...]:
    """Return the declarations at ``at``, none where that element is missing or the extension map."""
    if len(item) == at or type(item[at]) is dict:
        return ()
    raw = item[at]
    if type(raw) is not list or not raw:
        refuse_frame(
            f"Declarations are an array of at least one, left out when there is none, not {show(raw)}"
        )
    if more:
        refuse_frame("Declarations come with the last fragment, but more fragments follow")
    if len(raw) > limits.references:
        refuse_frame(
            f"A payload declares {len(raw)} streams; at most {limits.references} are accepted",
            ErrorCode.LIMIT_EXCEEDED,
        )
    return tuple([_declaration(one) for one in raw])


def _declaration(raw: Any) -> f.Declaration:
    if type(raw) is not list or not 2 <= len(raw) <= 3:
        refuse_frame(f"A declaration is [stream, kind] or [stream, kind, number], not {show(raw)}")
    stream = take_uint(raw[0], "The stream of a declaration")
    if type(raw[1]) is not int or raw[1] not in _KINDS:
        refuse_frame(f"The kind of a declaration is 1 to 5, not {show(raw[1])}")
    kind = _KINDS[raw[1]]
    if (len(raw) == 3) is not (kind >= f.Kind.FUNCTION):
        refuse_frame(f"A declaration has a number for functions and channels only, not {show(raw)}")
    number = take_uint(raw[2], "The number of a declaration") if len(raw) == 3 else None
    return f.Declaration(stream, kind, number)


_KINDS: Final = {int(kind): kind for kind in f.Kind if kind is not f.Kind.CALL}


def take_extensions(item: list[Any], at: int, limits: Limits) -> f.Extensions | None:
    """Return the extension map at ``at``, which must be the last element, or None."""
    if len(item) == at:
        return None
    extensions = item[at]
    if len(item) > at + 1 or type(extensions) is not dict:
        refuse_frame(
            f"After its {at} elements a frame of type {item[0]} has at most one extension map, "
            f"not {show(item[at:])}"
        )
    for key, value in extensions.items():
        take_uint(key, "An extension key")
        check = _EXTENSION_CHECKS.get(key, check_plain)
        check(value)
    length = len(cbor2.dumps(extensions))
    # cbor2 gives NaN and the infinities 3 bytes, where all floats have 9; they are rare, and looked for
    # only where that could matter.
    if length <= limits.metadata_bytes < 3 * length:
        length += 6 * _unusual_floats(extensions)
    if length > limits.metadata_bytes:
        refuse_frame(
            f"An extension map is longer than {limits.metadata_bytes} bytes; send less metadata",
            ErrorCode.LIMIT_EXCEEDED,
        )
    return extensions


def _unusual_floats(value: Any) -> int:
    """How many NaNs and infinities stand in the value of an extension."""
    if type(value) is float:
        return not isfinite(value)
    if isinstance(value, (dict, cbor2.frozendict)):
        return sum(map(_unusual_floats, value)) + sum(map(_unusual_floats, value.values()))
    return sum(map(_unusual_floats, value)) if isinstance(value, (list, tuple)) else 0


def take_tail(
    item: list[Any], at: int, more: bool, limits: Limits
) -> tuple[tuple[f.Declaration, ...], f.Extensions | None]:
    """Return declarations and extensions from position ``at`` on."""
    declarations = _declared(item, at, more, limits)
    return declarations, take_extensions(item, at + (declarations != ()), limits)


def check_plain(value: Any) -> None:
    """Refuse undefined and unassigned simple values anywhere in a value of an extension."""
    if type(value) in _PLAIN:
        return
    if isinstance(value, (list, tuple)):
        for element in value:
            check_plain(element)
    elif isinstance(value, (dict, cbor2.frozendict)):
        for key, element in value.items():
            check_plain(key)
            check_plain(element)
    else:
        refuse_frame(f"The value {show(value)} is not assigned; leave it out or send null")


_PLAIN: Final = frozenset({int, str, bytes, bool, float, type(None)})


def _uint_extension(value: Any) -> None:
    take_uint(value, "A deadline, lifetime, urgency or time to reconnect after")


def _text_extension(value: Any) -> None:
    if type(value) is not str:
        refuse_frame(f"A trace context, an address or a downlink is a text string, not {show(value)}")


def _bytes_extension(value: Any) -> None:
    take_bytes(value, "An idempotency key")


def _texts_extension(value: Any) -> None:
    if type(value) is not dict or not all(type(k) is str and type(v) is str for k, v in value.items()):
        refuse_frame(f"Metadata and trailers map text to text, not {show(value)}")


_EXTENSION_CHECKS: Final[dict[int, Callable[[Any], None]]] = {
    f.KEY_DEADLINE: _uint_extension,
    f.KEY_LIFETIME: _uint_extension,
    f.KEY_URGENCY: _uint_extension,
    f.KEY_METADATA: _texts_extension,
    f.KEY_TRACE: _text_extension,
    f.KEY_IDEMPOTENCY: _bytes_extension,
    f.KEY_TRAILERS: _texts_extension,
    f.KEY_RECONNECT_AFTER: _uint_extension,
    f.KEY_ELSEWHERE: _text_extension,
    f.KEY_DOWNLINK: _text_extension,
    f.KEY_REQUESTED: _uint_extension,
}


def need(item: list[Any], count: int) -> None:
    """Check that a frame has at least ``count`` elements."""
    if len(item) < count:
        refuse_frame(f"A frame of type {item[0]} has at least {count} elements, not {len(item)}")
