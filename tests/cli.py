"""A served module, and ``telewire serve`` in a process of its own, for tests of the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 180.0
"""More than all tests of one server take."""

SERVED = '''
"""A module of functions that say what was asked of them."""

import sys
from collections.abc import AsyncIterator, Callable

import anyio
from telewire import Abort, ByteStream, Channel, Return, Service, get_context

service = Service(context=lambda request: request.headers.get("x-user", "nobody"), introspection=True)
silent = Service()
number = 3


@service.function
async def on_countdown(start: int) -> AsyncIterator[int]:
    """Count down to zero."""
    for number in range(start, -1, -1):
        yield number


@service.function(name="chat.echo")
async def echo(*args, **kwargs):
    return [list(args), kwargs]


@service.function
async def whoami() -> str:
    return service.get_context().state


@service.function
async def refuse() -> None:
    raise Abort({"missing": 3, "text": "\\x1b[31mred"})


@service.function
async def fail() -> None:
    raise ValueError("a secret")


@service.function
async def fail_late() -> AsyncIterator[str]:
    yield "first"
    raise Abort("enough")


@service.function
async def squares() -> AsyncIterator[int]:
    yield 1
    raise Return({"count": 1})


@service.function
async def dashboard() -> dict:
    async def summary() -> str:
        return "all is well"

    async def report() -> str:
        raise Abort("for subscribers")

    async def parts() -> AsyncIterator[object]:
        yield "one"
        yield {"later": summary()}

    return {"title": "Sales", "summary": summary(), "a report": report(), "parts": parts(), "ask": len}


@service.function
async def forever(text: str = "") -> None:
    get_context().on_close(lambda reason: print(f"{text} is over: {reason!r}", flush=True))
    print(f"{text} began", flush=True)
    await anyio.sleep_forever()


@service.function
async def ticks() -> AsyncIterator[int]:
    get_context().on_close(lambda reason: print(f"ticks are over: {reason!r}", flush=True))
    number = 0
    while True:
        yield number
        number += 1


@service.function
async def pages() -> AsyncIterator[str]:
    """More than a pipe holds, but no more than a client that has read something lets us send."""
    get_context().on_close(lambda reason: print(f"pages are over: {reason!r}", flush=True))
    for _ in range(90):
        yield "x" * 10_000
    print("the pipe is full", flush=True)
    while True:
        yield "x" * 10_000


@service.function
async def file(size: int, name: str | None = None) -> ByteStream:
    return ByteStream(b"x" * size, name=name)


@service.function
async def files() -> list[ByteStream]:
    return [ByteStream(b"first", name="same.txt"), ByteStream(b"second", name="same.txt")]


@service.function
async def broken_file() -> ByteStream:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"some"
        raise Abort("the disk is gone")

    return ByteStream(chunks(), name="broken.bin")


@service.function
async def upload(data: ByteStream, more: ByteStream | None = None) -> list:
    return [data.name, (await data.read()).decode(), more and (await more.read()).decode()]


@service.function
async def swallow(data: ByteStream) -> int:
    get_context().on_close(lambda: print("swallowing is over", flush=True))
    print((await data.receive()).decode(), flush=True)
    return len(await data.read())


@service.function
async def chatter() -> Channel[str, str]:
    channel = Channel[str, str]()
    for message in ("hello", "\\x07bell"):
        channel.send_nowait(message)
    get_context().start_soon(channel.aclose)
    return channel.peer


@service.function
async def escape() -> str:
    return "\\x1b]0;title\\x07 \\u202e \\u00e9"


@service.function
async def values() -> list:
    from datetime import date, timedelta
    from decimal import Decimal
    from ipaddress import ip_address

    plain = [None, 1.5, float("nan"), b"\\x00", {1}, date(2026, 1, 2), Decimal("1.10")]
    return [*plain, ip_address("127.0.0.1"), {1: timedelta(seconds=1)}, (1, 2)]


@service.function
async def stop() -> None:
    """End the server's process, at once and without a word."""
    import os

    os._exit(9)
'''


def environment() -> dict[str, str]:
    """What programs of this checkout need, with warnings as errors."""
    paths = os.pathsep.join(str(ROOT / folder) for folder in (".", "transports", "spec"))
    return {**os.environ, "PYTHONPATH": paths, "PYTHONUTF8": "1", "NO_COLOR": "1", "PYTHONWARNINGS": "error"}


# However the tests were started, Ctrl-C works in these processes: in the background of a shell it would not.
PROGRAM = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('telewire', run_name='__main__')"
)


def start(arguments: Sequence[str | Path], cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start ``telewire`` with pipes; its standard output is to be read while it runs."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        cwd=cwd,
        env=environment(),
    )


class Serving:
    """A server's process and where it listens."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.first = self.line()
        self.url = next((word for word in self.first.split() if "://" in word), "")

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def interrupt(self, number: int = signal.SIGINT) -> tuple[int, str, str]:
        """Send it a signal and wait for its end; returns its status, and what it still printed."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@contextmanager
def serving(
    folder: Path, *options: str, service: str = "served:service", source: str = SERVED
) -> Iterator[Serving]:
    """Run ``telewire serve`` on a free port, with the module in ``folder``."""
    (folder / "served.py").write_text(source, encoding="utf-8")
    with start(["serve", service, "--port", "0", *options], cwd=folder) as process:
        # Who waits for a line that never comes is told so by the end of the process.
        watchdog = threading.Timer(SECONDS, process.kill)
        watchdog.start()
        try:
            yield Serving(process)
        finally:
            watchdog.cancel()
            process.kill()
