"""A subject behind the driver protocol: a command that is run, spoken to over its standard streams."""

from __future__ import annotations

import queue
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from telewire_spec.casefile import SORTS
from telewire_spec.driver.framing import read_message, write_message
from telewire_spec.subject import Reaction, SubjectFailed, Unsupported

__all__ = ["ProcessSubject"]

UNSUPPORTED_STATUS = 127


class ProcessSubject:
    """Runs a driver, starts it anew where it has ended, and gives up waiting after ``patience`` seconds.

    Args:
        command: the driver and its arguments.
        carrier: what the report calls the way its batches travel.
        patience: how long one reply may take.
    """

    # Any, throughout: messages are maps of plain values.

    def __init__(self, command: Sequence[str], *, carrier: str = "memory", patience: float = 10.0) -> None:
        self.command = list(command)
        self.carrier = carrier
        self.patience = patience
        self.process: subprocess.Popen[bytes] | None = None
        self.replies: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.needs: tuple[str, ...] = ()
        self.roles: tuple[str, ...] = ()
        self.declines: tuple[str, ...] = ()
        self.carries: tuple[str, ...] = SORTS
        self.name = ""

    def info(self) -> dict[str, Any]:
        """Ask the driver who it is and what it can; begin with this.

        Raises:
            Unsupported: it ended with status 127.
            SubjectFailed: it cannot be run, or does not answer.
        """
        told = self._ask({"request": "info"})
        self.name = str(told.get("name", "?"))
        self.roles = tuple(told.get("roles", ("client", "server")))
        self.needs = tuple(told.get("needs", ()))
        self.declines = tuple(told.get("declines", ()))
        self.carrier = str(told.get("carrier", self.carrier))
        self.carries = tuple(told.get("carries", SORTS))
        return told

    def start(self, **options: Any) -> Reaction:
        """Begin a conversation anew."""
        return self._react({"request": "start", **options})

    def receive(self, batch: bytes) -> Reaction:
        """Hand over a batch."""
        return self._react({"request": "receive", "batch": batch})

    def advance(self, seconds: float) -> Reaction:
        """Let time pass."""
        return self._react({"request": "advance", "seconds": seconds})

    def cut(self) -> Reaction:
        """Lose the transport."""
        return self._react({"request": "cut"})

    def attach(self) -> Reaction:
        """Give it another transport."""
        return self._react({"request": "attach"})

    def do(self, commands: Sequence[Mapping[str, Any]]) -> Reaction:
        """Let its application want something."""
        return self._react({"request": "do", "commands": [dict(each) for each in commands]})

    def poll(self) -> Reaction:
        """Nothing comes but as a reply."""
        return Reaction()

    def close(self) -> None:
        """Hang up, and end it where it does not end by itself."""
        process, self.process = self.process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(self.patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    # --- inside ----------------------------------------------------------------------------------

    def _react(self, request: dict[str, Any]) -> Reaction:
        reply = self._ask(request)
        if "unsupported" in reply:
            raise Unsupported(str(reply["unsupported"]))
        try:
            return Reaction(list(reply["sent"]), list(reply["events"]), bool(reply["closed"]))
        except (KeyError, TypeError) as error:
            raise SubjectFailed(f"Its reply to {request['request']} has no {error}.") from None

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        process = self.process or self._begin()
        assert process.stdin is not None
        try:
            write_message(process.stdin, request)
            reply = self.replies.get(timeout=self.patience)
        except OSError:
            reply = None
        except queue.Empty:
            process.kill()
            self.close()
            raise SubjectFailed(
                f"It did not answer {request['request']} within {self.patience:g} seconds."
            ) from None
        if reply is None:
            status = process.wait()
            self.close()
            if status == UNSUPPORTED_STATUS:
                raise Unsupported("It ended with status 127.")
            raise SubjectFailed(f"It ended with status {status} instead of answering {request['request']}.")
        return reply

    def _begin(self) -> subprocess.Popen[bytes]:
        try:
            process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except OSError as error:
            raise SubjectFailed(f"{self.command[0]} cannot be run: {error.strerror}.") from None
        self.process = process
        self.replies = queue.Queue()
        threading.Thread(target=self._read, args=(process, self.replies), daemon=True).start()
        return process

    def _read(self, process: subprocess.Popen[bytes], replies: queue.Queue[dict[str, Any] | None]) -> None:
        """Pass on replies until there are none; runs in a thread, since a read has no patience of its own."""
        assert process.stdout is not None
        try:
            while (message := read_message(process.stdout)) is not None:
                replies.put(message)
        except (OSError, ValueError):
            pass
        replies.put(None)
