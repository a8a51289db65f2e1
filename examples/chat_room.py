"""chat_room: a channel for each member, with acknowledged requests both ways, closed or aborted."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from telewire import Abort, Channel, ChannelClosed, Remote, Service
from telewire_transports import connect, serve

service = Service()
sent: list[str] = []  # what the server recorded, to be compared with what arrived
ended: list[str] = []  # which clean-ups have run on the server

members: dict[str, Channel[str, str]] = {}


def record(text: str) -> str:
    """Note what is sent."""
    sent.append(text)
    return text


def ending(name: str, reason: BaseException | None) -> str:
    """How a channel ended, in words."""
    return f"{name} was thrown out: {reason.value}" if isinstance(reason, Abort) else f"{name} left"


@service.function
async def on_join(name: str) -> Channel[str, str]:
    """Join the room; the channel carries what ``name`` says, and what the others say."""
    channel = Channel[str, str]()

    async def said(text: str) -> str:
        if "watches" in text:
            channel.abort(record("no advertising"))
            return ""  # nobody gets it any more
        others = [member for member in members.values() if member is not channel]
        readers = [await member.request(record(f"{name}: {text}"), str) for member in others]
        return record(f"read by {', '.join(readers)}")

    def left(reason: BaseException | None) -> None:
        del members[name]
        ended.append(ending(name, reason))

    channel.listen(said)
    channel.on_close(left)
    members[name] = channel
    return channel.peer


async def client(remote: Remote, show: Callable[[str], object], interval: float = 0.5) -> list[str]:
    """Ann and Bob talk; Ann leaves, and Bob is thrown out. Returns all that arrived."""
    arrived: list[str] = []
    thrown_out = anyio.Event()

    def take(text: str) -> str:
        arrived.append(text)
        show(text)
        return text

    async def join(name: str) -> Channel[str, str]:
        channel = await remote[on_join](name)

        def read(text: str) -> str:
            take(text)
            return name  # the acknowledgement

        def over(reason: BaseException | None) -> None:
            if isinstance(reason, Abort):
                take(reason.value)
                thrown_out.set()
            show(f"({ending(name, reason)})")

        channel.listen(read)
        channel.on_close(over)
        return channel

    ann, bob = await join("Ann"), await join("Bob")
    take(await ann.request("Is somebody there?", str))
    await anyio.sleep(interval)
    take(await bob.request("I am", str))
    await anyio.sleep(interval)
    await ann.aclose()
    try:
        await bob.request("Who wants to buy watches?")
    except ChannelClosed:
        await thrown_out.wait()
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
