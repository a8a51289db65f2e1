"""The quick path of values: small plain ones, encoded in one walk and without cbor2.

cbor2 costs about as much for each container and integer as this whole walk for a small value, and
it has to be kept from types and depths it handles otherwise, which is a walk of its own. Measured
against it in ``benchmarks/profile_call.py``. Whatever is not small and plain is left to the full
encoder, which writes the same bytes; a test compares the two.
"""

from __future__ import annotations

from math import inf
from struct import Struct
from typing import Any, Final

from telewire.wire.heads import ARRAY, BYTES, MAP, TEXT, encode_head, encode_int, encode_text

__all__ = ["SMALL_LEVELS", "encode_arguments", "encode_small"]

SMALL_LEVELS: Final = 8
"""How deep a small value nests at most."""
_LENGTH: Final = 32
_KEY_LENGTH: Final = 40

_INTEGERS: Final = tuple(encode_int(number) for number in range(1024))
_TEXTS: Final = tuple(encode_head(TEXT, length) for length in range(256))
_BYTES: Final = tuple(encode_head(BYTES, length) for length in range(256))
_ARRAYS: Final = tuple(encode_head(ARRAY, length) for length in range(_LENGTH))
_MAPS: Final = tuple(encode_head(MAP, length) for length in range(_LENGTH))
_PAIR: Final = _ARRAYS[2]
_EMPTY_MAP: Final = _MAPS[0]
_float = Struct(">Bd").pack
_two_bytes = Struct(">BH").pack
_four_bytes = Struct(">BI").pack
_KEYS: Final = 1024
# The same few keys stand in every item; only short ones are kept. Looked up without a call: 150 ns for three
# keys and not 235, of the 800 that their dict takes.
_keys: Final[dict[str, bytes]] = {}


def encode_small(value: object) -> bytes | None:
    """Return the encoding of a small plain value, None for any other."""
    parts: list[bytes] = []
    try:
        return b"".join(parts) if _walk(value, parts, SMALL_LEVELS) else None
    except UnicodeEncodeError:
        return None


# Any: arguments of every type travel.
def encode_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes | None:
    """Return the encoding of a call's arguments, ``[args, kwargs]``, where they are small and plain."""
    if kwargs:
        return encode_small([args, kwargs])
    parts: list[bytes] = [_PAIR]
    try:
        return b"".join(parts) + _EMPTY_MAP if _walk(args, parts, SMALL_LEVELS - 1) else None
    except UnicodeEncodeError:
        return None


# Any: what the exact type allows is done with it.
def _walk(value: Any, parts: list[bytes], levels: int) -> bool:
    """Encode one value; false where it is not plain, or not small."""
    # Several parts at once are added by `+=`, which costs less than an append for each.
    kind = type(value)
    if kind is str:
        data = value.encode()
        if len(data) > 255:
            return False
        parts += (_TEXTS[len(data)], data)
    elif kind is int:
        if 0 <= value < 1024:
            parts.append(_INTEGERS[value])
        elif 1024 <= value < 65536:
            parts.append(_two_bytes(0x19, value))
        elif 65536 <= value < 4294967296:
            parts.append(_four_bytes(0x1A, value))
        elif -(1 << 64) <= value < 1 << 64:
            parts.append(encode_int(value))
        else:
            return False
    elif kind is dict:
        if not levels or len(value) >= _LENGTH:
            return False
        parts.append(_MAPS[len(value)])
        for key, part in value.items():
            if type(key) is not str:
                return False
            known = _keys.get(key) or _learn(key)
            if not known:
                return False
            # Texts and integers, as most parts are, without a call for each.
            kind = type(part)
            if kind is str and len(part) < 64:
                data = part.encode()
                parts += (known, _TEXTS[len(data)], data)
            elif kind is int and 0 <= part < 1024:
                parts += (known, _INTEGERS[part])
            elif kind is int and 1024 <= part < 65536:
                parts += (known, _two_bytes(0x19, part))
            elif kind is bool:
                parts += (known, b"\xf5" if part else b"\xf4")
            else:
                parts.append(known)
                if not _walk(part, parts, levels - 1):
                    return False
    elif kind is list or kind is tuple:
        if not levels or len(value) >= _LENGTH:
            return False
        parts.append(_ARRAYS[len(value)])
        for part in value:
            kind = type(part)
            if kind is str and len(part) < 64:
                data = part.encode()
                parts += (_TEXTS[len(data)], data)
            elif kind is int and 0 <= part < 1024:
                parts.append(_INTEGERS[part])
            elif kind is int and 1024 <= part < 65536:
                parts.append(_two_bytes(0x19, part))
            elif kind is dict and not part:
                # The named arguments of most calls.
                if levels == 1:
                    return False
                parts.append(_EMPTY_MAP)
            elif not _walk(part, parts, levels - 1):
                return False
    elif value is None:
        parts.append(b"\xf6")
    elif kind is bool:
        parts.append(b"\xf5" if value else b"\xf4")
    elif kind is float:
        if not -inf < value < inf:
            return False
        parts.append(_float(0xFB, value))
    elif kind is bytes:
        if len(value) > 255:
            return False
        parts += (_BYTES[len(value)], value)
    else:
        return False
    return True


def _learn(key: str) -> bytes:
    """Encode a key and keep it; nothing where it is too long for that."""
    if len(key) > _KEY_LENGTH:
        return b""
    if len(_keys) >= _KEYS:
        _keys.clear()
    encoded = _keys[key] = encode_text(key)
    return encoded
