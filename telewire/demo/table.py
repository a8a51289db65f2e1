"""Which examples are demonstrated, where they are found, and what makes one of them a success."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, cast, final

from telewire.limits import Limits
from telewire.runtime.service import Service
from telewire.runtime.transport import TransportName

__all__ = ["DEMONSTRATIONS", "Demonstration", "Example", "Record", "folder", "judge", "load"]


@final
@dataclass(frozen=True, slots=True)
class Demonstration:
    """One example on stage.

    ``name`` is its file, ``shows`` the line above it, ``end`` follows each thing it shows. ``ahead``
    is how many items the server may have sent that a client who left early never took. ``ended``
    are the clean-ups that the server must have run. ``exchange`` says whether one request and its
    response can carry it.
    """

    name: str
    shows: str
    end: str = "\n"
    ahead: int = 0
    ended: tuple[str, ...] = ()
    exchange: bool = False


WINDOW_ITEMS: Final = (Limits().stream_window + Limits().session_budget // 2) // Limits().item_cost
"""Items that the credit of a stream allows at most: bursts make its window grow (TW-STR-037, TW-STR-081)."""
FLIGHT_ITEMS: Final = 2_000_000
"""Small items that fit into the buffers of two sockets: only TCP holds back the sender of an exchange."""

TICKS_AHEAD: Final = 100

DEMONSTRATIONS: Final = (
    Demonstration("countdown", "an async generator on the server, one number a second", exchange=True),
    Demonstration(
        "ai_chat",
        "tokens as they come; then Stop is pressed while the model is thinking",
        end="",
        ended=("the request to the model was cancelled",),
        exchange=True,
    ),
    Demonstration(
        "ticker",
        "a generator without an end, held back by a slow reader, ended by its break",
        ahead=WINDOW_ITEMS,
        ended=("the ticker was stopped",),
        exchange=True,
    ),
    Demonstration(
        "notifications",
        "the client's callback is called as events arrive, until it calls unsubscribe",
        ended=("unsubscribed",),
    ),
    Demonstration(
        "dashboard",
        "promises in one value, each settled alone: one fails, leaving cancels the last",
        ended=("the report was cancelled",),
        exchange=True,
    ),
    Demonstration(
        "counter",
        "a lambda ticked by an interval that on_close clears",
        ahead=TICKS_AHEAD,
        ended=("the interval was cleared",),
    ),
    Demonstration("team_feed", "refused at open time, and again in the callback of a sensitive feed"),
    Demonstration(
        "search",
        "rows of a sync sqlite3 cursor, closed when the reader has enough",
        ahead=WINDOW_ITEMS,
        ended=("the database was closed",),
        exchange=True,
    ),
    Demonstration(
        "chat_room",
        "channels with acknowledged requests both ways; one is closed, the other aborted",
        ended=("Ann left", "Bob was thrown out: no advertising"),
    ),
    Demonstration(
        "download",
        "a file of the server, saved in constant memory",
        ended=("the file of the server was removed",),
        exchange=True,
    ),
    Demonstration(
        "upload",
        "a file of the client, saved in constant memory",
        ended=("the file of the server was removed",),
        exchange=True,
    ),
    Demonstration(
        "compress", "bytes go in and come back gzipped, each line before the next is sent", exchange=True
    ),
    Demonstration(
        "compress_video",
        "video through an ffmpeg process, which is killed when the client has enough",
        ahead=1,
        ended=("ffmpeg is gone", "ffmpeg is gone"),
        exchange=True,
    ),
    Demonstration(
        "mixed",
        "one of each in one argument list, and one of each in one value",
        ended=("everything is over",),
    ),
)


class Example(Protocol):
    """What every module under ``examples`` offers; ``ended`` besides, where it cleans up.

    Where one cannot run on this machine, its ``missing`` is a sentence that says why.
    """

    # Any: each example has values of its own.
    service: Service[Any]
    sent: list[Any]
    client: Callable[..., Awaitable[list[Any]]]


@final
@dataclass(frozen=True, slots=True)
class Record:
    """What a server has sent and cleaned up; each item as its ``repr``, which any value has."""

    sent: tuple[str, ...]
    ended: tuple[str, ...]


def folder() -> Path:
    """The folder of the examples: inside the installed package, or that of the checkout."""
    installed = Path(__file__).parent / "programs"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "examples"


def load(place: Path, name: str) -> Example:
    """Import the example ``name`` from the folder ``place``.

    Raises:
        FileNotFoundError: there is no such example.
    """
    path = place / f"{name}.py"
    if not path.is_file():
        raise FileNotFoundError(f"There is no example {path}; name a folder that holds {name}.py.")
    spec = importlib.util.spec_from_file_location(f"telewire_example_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return cast("Example", module)


# Any: each example has values of its own.
def judge(
    demonstration: Demonstration,
    arrived: Sequence[Any],
    record: Record,
    transport: TransportName = "websocket",
) -> str | None:
    """Compare what arrived with what the server recorded; returns what is wrong, None if nothing is."""
    received = tuple(map(repr, arrived))
    if not received:
        return "nothing arrived"
    for number, (mine, theirs) in enumerate(zip(received, record.sent, strict=False), 1):
        if mine != theirs:
            return f"item {number} arrived as {mine} and was recorded as {theirs}"
    surplus = len(record.sent) - len(received)
    credited = transport != "exchange" or demonstration.ahead < WINDOW_ITEMS
    if not 0 <= surplus <= (demonstration.ahead if credited else FLIGHT_ITEMS):
        return f"{len(received)} items arrived and {len(record.sent)} were recorded as sent"
    if record.ended != demonstration.ended:
        return f"the server should have cleaned up {demonstration.ended}, and recorded {record.ended}"
    return None
