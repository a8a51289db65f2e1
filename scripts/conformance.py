"""All scenarios against this implementation: its machine and its servers, over every carrier that there is.

``python scripts/dev.py conformance`` calls it. The reports stand in ``build/conformance``; further
arguments are those of ``telewire-spec run``.
"""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
REPORTS: Final = ROOT / "build" / "conformance"
SECONDS: Final = 30.0
"""How long a server may take to listen."""

CARRIERS: Final = ("websocket", "exchange", "HTTP session", "SSE and POST")
"""Behind whose adapters our machine is put, in both roles, besides memory."""
ASGI: Final = "telewire_spec.asgi:application"
SERVERS: Final[dict[str, tuple[str, Sequence[str]]]] = {
    "our server ": ("/telewire", ("telewire", "serve", "telewire_spec.service:service", "--port", "{port}")),
    "uvicorn ": ("/", ("uvicorn", ASGI, "--port", "{port}", "--log-level", "critical")),
    "hypercorn ": (
        "/",
        ("hypercorn", "-b", "127.0.0.1:{port}", "-k", "trio", "--log-level", "CRITICAL", ASGI),
    ),
}
"""What the report calls it → the path where it serves, and the module that is run with its arguments."""


def environment() -> dict[str, str]:
    """The checkout's own packages, whatever is installed."""
    paths = os.pathsep.join(str(ROOT / folder) for folder in (".", "transports", "spec"))
    return {**os.environ, "PYTHONPATH": paths, "PYTHONUTF8": "1"}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(command: Sequence[str]) -> Iterator[int]:
    """Run a server on a free port until the block ends.

    Raises:
        TimeoutError: it does not listen in time.
        ChildProcessError: it has ended instead.
    """
    port = free_port()
    module, *arguments = (part.format(port=port) for part in command)
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_for(process, port, module)
            yield port
        finally:
            process.kill()


def wait_for(process: subprocess.Popen[bytes], port: int, module: str) -> None:
    """Knock until somebody answers."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise ChildProcessError(f"{module} ended with status {process.returncode} instead of serving.")
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        else:
            return
    raise TimeoutError(f"{module} does not listen on port {port} after {SECONDS:g} seconds.")


def main(arguments: Sequence[str]) -> int:
    """Start the servers, run everything, and return the exit status of ``telewire-spec``."""
    driver = f"{shlex.quote(sys.executable)} -m telewire_spec.driver"
    drivers = [driver, *(f"{driver} --carrier {shlex.quote(carrier)}" for carrier in CARRIERS)]
    options = [part for each in drivers for part in ("--command", each)]
    with ExitStack() as stack:
        for name, (path, command) in SERVERS.items():
            port = stack.enter_context(serving(command))
            options += ["--url", f"{name}websocket=ws://127.0.0.1:{port}{path}"]
            options += ["--url", f"{name}exchange=http://127.0.0.1:{port}{path}"]
            options += ["--url", f"{name}HTTP session=session+http://127.0.0.1:{port}{path}"]
            options += ["--url", f"{name}SSE and POST=sse+http://127.0.0.1:{port}{path}"]
        reports = [
            part
            for kind, name in (("html", "report.html"), ("junit", "junit.xml"), ("json", "report.json"))
            for part in (f"--{kind}", str(REPORTS / name))
        ]
        known = ["--known-failing", str(ROOT / "spec" / "known_failing.txt")]
        done = subprocess.run(
            [sys.executable, "-m", "telewire_spec", "run", *options, *known, *reports, *arguments],
            env=environment(),
            check=False,
        )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
