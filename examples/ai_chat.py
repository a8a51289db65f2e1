"""ai_chat: tokens as a model produces them, and a Stop button that also cancels the model's request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import anyio

from telewire import Call, Remote, RemoteIterator, Service, get_context
from telewire_transports import connect, serve

ANSWER = "Streams, promises and callbacks cross the wire as if they were local values. "
TOKENS = len(ANSWER.split())

service = Service()
sent: list[str] = []  # what the server recorded, to be compared with what arrived
ended: list[str] = []  # which clean-ups have run on the server


class Completion:
    """A request to a language model, as its vendor's library has it: tokens, and a way to cancel."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._cancelled = anyio.Event()

    async def tokens(self) -> AsyncIterator[str]:
        """One word every ``interval`` seconds; then the model thinks, until it is cancelled."""
        for word in ANSWER.split():
            await anyio.sleep(self._interval)
            yield word + " "
        await self._cancelled.wait()

    def cancel(self) -> None:
        """Tell the vendor that nobody wants more, and so nobody pays for more."""
        self._cancelled.set()
        ended.append("the request to the model was cancelled")


@service.function
async def on_prompt(prompt: str, interval: float = 0.2) -> AsyncIterator[str]:
    """Answer ``prompt`` token by token."""
    completion = Completion(interval)
    # However the call ends, also while the loop below waits for the next token.
    get_context().on_close(completion.cancel)
    async for token in completion.tokens():
        sent.append(token)
        yield token


async def client(remote: Remote, show: Callable[[str], object], interval: float = 0.2) -> list[str]:
    """Show tokens until the user presses Stop while the model is thinking; returns the tokens."""
    arrived: list[str] = []
    bored = anyio.Event()
    call = remote[on_prompt]("What does telewire do?", interval)
    async with anyio.create_task_group() as group:
        group.start_soon(stop_button, call, bored)
        async for token in call:  # ends as if finished, once the button is pressed
            arrived.append(token)
            show(token)
            if len(arrived) == TOKENS:
                bored.set()
    return arrived


async def stop_button(call: Call[RemoteIterator[str]], pressed: anyio.Event) -> None:
    """Stop the call from another task than the one that reads its tokens."""
    await pressed.wait()
    await call.aclose()


async def main() -> None:
    """Serve on a free port and call from the same program, over a real socket."""

    async def visit(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/telewire") as remote:
            await client(remote, lambda token: print(token, end="", flush=True))
        print()
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        await serve(service, port=0, on_started=lambda port: group.start_soon(visit, port))


if __name__ == "__main__":
    anyio.run(main)
