"""check_transport: the contract of :mod:`telewire.runtime.transport` as a test that can fail.

::

    @asynccontextmanager
    async def make_pair(accept_left, accept_right):
        ...                       # connect; give each transport to its accept
        yield MyPair(...)         # hold(), release() and cut() of what lies between

    await check_transport(make_pair)

It runs on whichever loop is running; run it on asyncio and on trio.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol, TypeAlias, final

import anyio
import anyio.lowlevel

from telewire.errors import RemoteProtocolError
from telewire.limits import Limits
from telewire.runtime.backend import current_backend
from telewire.runtime.transport import AcceptTransport, Transport

__all__ = ["MakePair", "Recorder", "TransportPair", "check_transport"]


class TransportPair(Protocol):
    """What lies between two transports under test."""

    def hold(self) -> None:
        """Let nothing through any more, so that senders fill up."""

    def release(self) -> None:
        """Let through what was held, and all that follows."""

    def cut(self) -> None:
        """Lose the connection without any farewell, at once."""


MakePair: TypeAlias = Callable[[AcceptTransport, AcceptTransport], AbstractAsyncContextManager[TransportPair]]
"""Opens a fresh connection, gives its two transports away, and yields what lies between them."""

_LIMITS: Final = Limits()
_MUCH: Final = 64 * 1024
_TOO_MUCH: Final = 64 * 1024 * 1024


@final
class Recorder:
    """A transport handler that writes down what it is told, and complains about what it may not be.

    Use :meth:`accept` as an :class:`AcceptTransport`. ``complaints`` holds sentences.
    """

    transport: Transport

    def __init__(self, name: str = "handler") -> None:
        self.name = name
        self.batches: list[bytes] = []
        self.byte_signs = 0
        self.writable_signs = 0
        self.input_ends = 0
        self.violations: list[RemoteProtocolError] = []
        self.losses: list[Exception | None] = []
        self.complaints: list[str] = []
        self._inside: str | None = None
        self._changed = anyio.Event()

    def accept(self, transport: Transport) -> Recorder:
        """Take the transport."""
        self.transport = transport
        self._note("accept")
        return self

    def batch_received(self, batch: bytes) -> None:
        """Write a batch down."""
        self._note("batch_received")
        if type(batch) is not bytes:
            self.complaints.append(f"{self.name}: a batch is of type {type(batch).__name__}, not bytes.")
        self.batches.append(batch)

    def batch_posted(self, batch: bytes) -> bool:
        """Write one down that may come twice; it always has its place."""
        self.batch_received(batch)
        return True

    def violation_received(self, error: RemoteProtocolError) -> None:
        """Write down what was no batch; who reads it owes the transport a close."""
        self._note("violation_received")
        self.violations.append(error)

    def bytes_received(self) -> None:
        """Count a sign of life."""
        self._note("bytes_received")
        self.byte_signs += 1

    def transport_writable(self) -> None:
        """Count a sign that there is room."""
        self._note("transport_writable")
        self.writable_signs += 1

    def input_ended(self) -> None:
        """Count an end of the other side's direction."""
        self._note("input_ended")
        self.input_ends += 1

    def transport_lost(self, error: Exception | None) -> None:
        """Write down the end."""
        self._note("transport_lost")
        self.losses.append(error)

    def _note(self, what: str) -> None:
        if self._inside is not None:
            self.complaints.append(f"{self.name}: {what} was called from inside {self._inside}.")
        if self.losses:
            self.complaints.append(f"{self.name}: {what} was called after transport_lost.")
        self._changed.set()
        self._changed = anyio.Event()

    def send(self, *batches: bytes) -> None:
        """Send, and complain if the transport calls back meanwhile."""
        self._call("send", lambda: self.transport.send(batches))

    def close(self) -> None:
        """Close, likewise."""
        self._call("close", lambda: self.transport.close())

    def abort(self) -> None:
        """Abort, likewise."""
        self._call("abort", lambda: self.transport.abort())

    def _call(self, name: str, function: Callable[[], None]) -> None:
        self._inside = name
        try:
            function()
        finally:
            self._inside = None

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something told to this handler makes ``condition`` true."""
        while not condition():
            await self._changed.wait()

    async def lost(self) -> Exception | None:
        """Wait for the end; gives its reason."""
        await self.until(lambda: bool(self.losses))
        return self.losses[0]


def _demand(condition: bool, sentence: str) -> None:
    # Not an assert statement: this is shipped, and must hold under python -O too.
    if not condition:
        raise AssertionError(sentence)


def _same(found: Sequence[bytes], wanted: Sequence[bytes], where: str) -> None:
    if list(found) == list(wanted):
        return
    for index, (one, other) in enumerate(zip(found, wanted, strict=False)):
        if one != other:
            raise AssertionError(
                f"{where}: batch {index} has {len(one)} bytes beginning {one[:8]!r}, "
                f"sent were {len(other)} beginning {other[:8]!r}."
            )
    raise AssertionError(f"{where}: {len(found)} batches arrived of {len(wanted)}.")


async def check_transport(
    make_pair: MakePair,
    *,
    batch_bytes: int = _LIMITS.batch_bytes,
    seconds: float = 30.0,
    exchange: bool = False,
    deaf_close: bool = False,
) -> None:
    """Prove that a transport keeps the contract; each point gets a connection of its own.

    ``batch_bytes`` is the largest batch the transport was told to accept. ``seconds`` bounds each
    point, so that a transport that forgets something fails instead of hanging. ``exchange`` says that
    the pair is an HTTP request, whose server is the left one: what its client sends after the response
    has ended is lost. ``deaf_close`` says that the framework of the left side hands over nothing more
    once it was told to close, as those of ASGI do: what crosses that may be lost, which harms nobody,
    since behind its own CLOSE no side takes anything.

    Raises:
        AssertionError: it does not; the message says which point and how.
        TimeoutError: something that had to happen never did; a note says at which point.
    """

    async def order(left: Recorder, right: Recorder, pair: TransportPair) -> None:
        await _check_order(left, right, batch_bytes)

    async def both_close(left: Recorder, right: Recorder, pair: TransportPair) -> None:
        await _check_both_close(left, right, deaf_close)

    points: list[Callable[[Recorder, Recorder, TransportPair], Coroutine[Any, Any, None]]] = [
        order,
        _check_both_ways,
        _check_sends_from_callbacks,
        _check_blocked_then_writable,
        _check_close_flushes,
        both_close,
        _check_abort,
        _check_abort_from_callback,
        _check_cut,
        _check_dead_link,
    ]
    if exchange:
        points.remove(both_close)
    for point in points:
        left, right = Recorder("left"), Recorder("right")
        try:
            with anyio.fail_after(seconds):
                async with make_pair(left.accept, right.accept) as pair:
                    await right.until(lambda: hasattr(right, "transport"))  # noqa: B023 - awaited in the loop
                    await point(left, right, pair)
                    left.abort()
                    await left.lost()
                    await right.lost()
                    # What is told too late comes in one of the next passes, if at all.
                    for _ in range(3):
                        await anyio.lowlevel.checkpoint()
        except BaseException as error:
            error.add_note(f"While checking: {point.__name__.removeprefix('_check_')}")
            raise
        for recorder in (left, right):
            _demand(not recorder.complaints, f"{point.__name__}: {'; '.join(recorder.complaints)}")
            _demand(
                len(recorder.losses) == 1,
                f"{point.__name__}: {recorder.name} was told {len(recorder.losses)} times that it is lost.",
            )


async def _check_order(left: Recorder, right: Recorder, batch_bytes: int) -> None:
    """Batches arrive whole and in order, from one byte to the limit, however they are grouped."""
    backend = current_backend()
    sizes = [1, 2, 125, 126, 127, 1000, 65535, 65536, batch_bytes - 1, batch_bytes, 1]
    batches = [bytes([index % 251]) * min(size, batch_bytes) for index, size in enumerate(sizes)] + [
        index.to_bytes(2) for index in range(500)
    ]
    left.send(*batches[:3])
    for batch in batches[3:50]:
        left.send(batch)
        await backend.checkpoint()
    left.send(*batches[50:])
    left.send()
    await right.until(lambda: len(right.batches) >= len(batches))
    _same(right.batches, batches, "order")
    _demand(left.transport.request is not None, "A transport has no request.")


async def _check_both_ways(left: Recorder, right: Recorder, pair: TransportPair) -> None:
    """Both directions run at once and do not mix."""
    there = [b"there %d" % index * 400 for index in range(200)]
    back = [b"back %d" % index * 300 for index in range(200)]
    for one, other in zip(there, back, strict=True):
        left.send(one)
        right.send(other)
    await right.until(lambda: len(right.batches) >= len(there))
    await left.until(lambda: len(left.batches) >= len(back))
    _same(right.batches, there, "both ways, there")
    _same(left.batches, back, "both ways, back")


async def _check_sends_from_callbacks(left: Recorder, right: Recorder, pair: TransportPair) -> None:
    """A handler may send from inside its callbacks; replies come later, never inside."""
    count = 50
    arrived, answered = left.batch_received, right.batch_received

    def ask(batch: bytes) -> None:
        arrived(batch)
        if len(left.batches) < count:
            left.send(b"question")

    def answer(batch: bytes) -> None:
        answered(batch)
        right.send(b"answer")

    left.batch_received, right.batch_received = ask, answer  # type: ignore[method-assign]  # told in its place
    left.send(b"question")
    await left.until(lambda: len(left.batches) >= count)


async def _check_blocked_then_writable(left: Recorder, right: Recorder, pair: TransportPair) -> None:
    """A peer that takes nothing makes the sender blocked; once it reads, the sender hears it once."""
    _demand(left.transport.writable, "A fresh transport is not writable.")
    pair.hold()
    sent = 0
    while left.transport.writable:
        left.send(bytes([sent % 251]) * _MUCH)
        sent += 1
        await anyio.lowlevel.checkpoint()
        _demand(sent * _MUCH <= _TOO_MUCH, f"After {_TOO_MUCH} bytes nobody took, it is still writable.")
    left.send(b"pulled already")
    _demand(left.writable_signs == 0, "transport_writable was called before there was room.")
    pair.release()
    await left.until(lambda: left.writable_signs > 0)
    _demand(left.transport.writable, "transport_writable was called, and it is not writable.")
    await right.until(lambda: len(right.batches) > sent)
    _same(
        right.batches, [*(bytes([index % 251]) * _MUCH for index in range(sent)), b"pulled already"], "held"
    )
    _demand(
        left.writable_signs == 1, f"transport_writable was called {left.writable_signs} times for one block."
    )


async def _check_close_flushes(left: Recorder, right: Recorder, pair: TransportPair) -> None:
    """Close lets everything out first; both sides learn of an orderly end."""
    batches = [bytes([index]) * _MUCH for index in range(40)]
    left.send(*batches)
    left.close()
    left.close()
    left.send(b"after close")
    _demand(await right.lost() is None, f"A close was reported as {right.losses[0]!r}.")
    _same(right.batches, batches, "close")
    _demand(await left.lost() is None, f"Our own close was reported as {left.losses[0]!r}.")


async def _check_both_close(left: Recorder, right: Recorder, deaf: bool) -> None:
    """Two closes that cross are still an orderly end, and lose nothing, but for what goes to a deaf side."""
    left.send(b"last of left")
    left.close()
    right.send(b"last of right")
    right.close()
    _demand(await left.lost() is None, f"Crossing closes were reported as {left.losses[0]!r}.")
    _demand(await right.lost() is None, f"Crossing closes were reported as {right.losses[0]!r}.")
    if not (deaf and not left.batches):
        _same(left.batches, [b"last of right"], "crossing close")
    _same(right.batches, [b"last of left"], "crossing close")


async def _check_abort(left: Recorder, right: Recorder, pair: TransportPair) -> None:
    """Abort ends both sides with an error, also where nothing can be sent."""
    pair.hold()
    left.send(*(bytes(_MUCH) for _ in range(4)))
    left.abort()
    left.abort()
    left.send(b"after abort")
    left.close()
    _demand(await left.lost() is not None, "An abort was reported as an orderly end.")
    pair.release()
    _demand(await right.lost() is not None, "The peer's abort was reported as an orderly end.")
    _demand(b"after abort" not in right.batches, "A batch sent after abort arrived.")


async def _check_abort_from_callback(left: Recorder, right: Recorder, pair: TransportPair) -> None:
    """A handler that aborts inside batch_received is given no further batch."""
    arrived = right.batch_received

    def refuse(batch: bytes) -> None:
        arrived(batch)
        right.abort()

    right.batch_received = refuse  # type: ignore[method-assign]  # told in its place
    left.send(*(b"%d" % index for index in range(20)))
    await right.lost()
    _same(right.batches, [b"0"], "abort inside batch_received")
    await left.lost()


async def _check_cut(left: Recorder, right: Recorder, pair: TransportPair) -> None:
    """A lost connection is an error on both sides."""
    left.send(b"before")
    await right.until(lambda: bool(right.batches))
    pair.cut()
    _demand(await left.lost() is not None, "A cut was reported as an orderly end.")
    _demand(await right.lost() is not None, "A cut was reported as an orderly end.")


async def _check_dead_link(left: Recorder, right: Recorder, pair: TransportPair) -> None:
    """On a dead link every command is quiet."""
    right.abort()
    await left.lost()
    await right.lost()
    for recorder in (left, right):
        recorder.send(b"too late")
        recorder.close()
        recorder.abort()
