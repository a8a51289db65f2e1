"""notifications: the client passes a callback, and calls the `unsubscribe` that it got for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

import telewire
from telewire import Remote, Service, get_context
from telewire_transports import connect, serve

service = Service()
sent: list[str] = []  # what the server recorded, to be compared with what arrived
ended: list[str] = []  # which clean-ups have run on the server


class Bus:
    """An event bus, as applications have one: it calls its subscribers and waits for nobody."""

    def __init__(self) -> None:
        self._subscribers: list[Callable[[str], object]] = []

    def subscribe(self, subscriber: Callable[[str], object]) -> None:
        """Call ``subscriber`` with every event from now on."""
        self._subscribers.append(subscriber)

    def unsubscribe(self, subscriber: Callable[[str], object]) -> None:
        """Call it no more; handles of one function are equal, so any of them will do."""
        if subscriber in self._subscribers:
            self._subscribers.remove(subscriber)
            ended.append("unsubscribed")

    def publish(self, event: str) -> None:
        """Tell everyone."""
        for subscriber in self._subscribers:
            sent.append(event)
            subscriber(event)


bus = Bus()


@service.function
async def on_subscribe(notify: Callable[[str], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """Call ``notify`` for each event, until the function that this returns is called."""

    async def unsubscribe() -> None:
        bus.unsubscribe(notify)

    bus.subscribe(notify)
    get_context().on_close(unsubscribe)  # also when the client just goes away
    return unsubscribe


@service.function
async def on_order(item: str) -> None:
    """Something happens, and the bus says so."""
    bus.publish(f"ordered: {item}")


async def client(remote: Remote, show: Callable[[str], object], interval: float = 0.3) -> list[str]:
    """Subscribe a plain function, let things happen, unsubscribe; returns the events that arrived."""
    arrived: list[str] = []

    def notify(event: str) -> None:
        arrived.append(event)
        show(event)

    unsubscribe = await remote[on_subscribe](telewire.callback(notify))
    for item in ("tea", "coffee", "a second coffee"):
        await anyio.sleep(interval)
        await remote.on_order(item)
    await unsubscribe()
    await remote.on_order("water, which nobody hears of")
    return arrived


async def main() -> None:
    """Serve on a free port and call from the same program, over a real socket."""

    async def visit(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/telewire") as remote:
            await client(remote, print)
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        await serve(service, port=0, on_started=lambda port: group.start_soon(visit, port))


if __name__ == "__main__":
    anyio.run(main)
