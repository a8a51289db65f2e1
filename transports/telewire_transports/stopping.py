"""serve_until_signal: serve as the main thing of a program, and end in order when it is told to end."""

from __future__ import annotations

import functools
import signal
import ssl
import threading
from collections.abc import Awaitable, Callable, Collection
from types import FrameType
from typing import Any, Final, TypedDict

import anyio
from typing_extensions import Unpack

from telewire.limits import Limits, ServerLimits
from telewire.runtime.backend import current_backend
from telewire.runtime.service import Service
from telewire_transports.connecting import serve

__all__ = ["ServeOptions", "serve_until_signal", "until_signal"]

# Ctrl-C, what supervisors send, and Ctrl-Break of Windows, which has no other signal from outside.
_SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)
)


class ServeOptions(TypedDict, total=False):
    """The keyword arguments of :func:`~telewire_transports.serve`."""

    host: str | None
    port: int
    path: str
    ssl_context: ssl.SSLContext | None
    limits: Limits | None
    origins: Collection[str]
    hosts: Collection[str]
    trusted_proxies: Collection[str]
    server_limits: ServerLimits | None
    resume_window: float | None
    drain_seconds: float
    reconnect_after: float | None
    elsewhere: str | None
    on_started: Callable[[int], object] | None


# Any: a service of any provider.
async def serve_until_signal(service: Service[Any], **options: Unpack[ServeOptions]) -> signal.Signals | None:
    """As :func:`~telewire_transports.serve`, until SIGINT (Ctrl-C) or SIGTERM comes, also on Windows.

    At SIGTERM clients are asked to leave, and what is open may go on for ``drain_seconds`` (20). Then, and
    at Ctrl-C at once, no further call is taken, those that run are closed as going away, and user code is
    waited for while it cleans up. A second signal does what it would do without us: it ends the program.
    Returns the signal; None only where this is not the main thread, which gets no signals.
    """
    told = anyio.Event()
    return await until_signal(functools.partial(serve, service, until=told.wait, **options), gently=told.set)


async def until_signal(
    function: Callable[[], Awaitable[object]], *, gently: Callable[[], object] | None = None
) -> signal.Signals | None:
    """Run ``function`` until it ends or the program is told to end; then cancel it and wait for its end.

    With ``gently`` that is called at SIGTERM, instead of cancelling, and ``function`` ends by itself.
    Returns the signal, or None where there was none.
    """
    if threading.current_thread() is not threading.main_thread():
        await function()
        return None
    backend = current_backend()
    received: list[signal.Signals] = []
    scope = anyio.CancelScope()

    def obey(number: int, frame: FrameType | None) -> None:
        restore()
        received.append(signal.Signals(number))
        gentle = gently if number == signal.SIGTERM else None
        backend.call_soon_threadsafe(gentle or scope.cancel)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)
        before.clear()

    before = {number: signal.signal(number, obey) for number in _SIGNALS}
    try:
        with scope:
            await function()
    finally:
        restore()
    return received[0] if received else None
