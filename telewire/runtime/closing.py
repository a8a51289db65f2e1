"""aclose: the end of everything with a life anywhere inside a value."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final

from telewire.runtime.call import Call
from telewire.runtime.driver import drivers
from telewire.runtime.function import is_function, revoke
from telewire.runtime.outgoing import to_wire
from telewire.runtime.producer import ItemSender
from telewire.runtime.shapes import Convertible

__all__ = ["aclose"]

_DATA: Final = (str, bytes, bytearray, int, float, type(None))
_CONTAINERS: Final = (list, tuple, set, frozenset)


# Any: values of every type are closed.
async def aclose(value: Any) -> None:
    """Close everything with a life anywhere inside ``value``; closing what is closed does nothing.

    Handles and calls are closed as their own ``aclose`` does: iterators, promises, functions, byte
    streams and channels of the other side, also inside dicts, lists, tuples, sets, dataclasses and
    models. A function of this side is revoked wherever it was passed: calls already made on it go on,
    later ones raise ReferenceReleased there. A generator of this side that was passed ends, and is
    closed where it runs.
    """
    failed: BaseException | None = None
    for part in _live_parts(value):
        try:
            await _close(part)
        except Exception as error:
            failed = failed or error
    if failed is not None:
        raise failed


def _live_parts(value: object) -> list[object]:
    """Everything inside a value that is no data, each once."""
    found: dict[int, object] = {}
    seen: dict[int, object] = {}
    rest = [value]
    while rest:
        part = rest.pop()
        if isinstance(part, _DATA) or id(part) in seen:
            continue
        seen[id(part)] = part
        if isinstance(part, (Convertible, Call, AsyncIterator, Iterator)) or is_function(part):
            found[id(part)] = part
        elif isinstance(part, Mapping):
            rest += part.values()
        elif isinstance(part, _CONTAINERS):
            rest += part
        else:
            try:
                rest.append(to_wire(part))
            except TypeError:
                continue
    return list(found.values())[::-1]


async def _close(part: object) -> None:
    if isinstance(part, Convertible):
        await part.aclose()  # type: ignore[attr-defined]  # each kind of handle has it
    elif isinstance(part, Call):
        await part.aclose()
    elif is_function(part):
        for driver in drivers():
            revoke(driver, part)
    else:
        await _close_iterator(part)


async def _close_iterator(iterator: object) -> None:
    """Close an iterator of this side: where it was passed, in the task that runs it."""
    for driver in drivers():
        for stream in driver.connection.streams_of_ours():
            sender = stream.app
            if isinstance(sender, ItemSender) and sender.sends(iterator):
                sender.close()
                return
    if isinstance(iterator, AsyncIterator):
        close = getattr(iterator, "aclose", None)
        if close is not None:
            await close()
    else:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
