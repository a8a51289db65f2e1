"""Exit statuses that scripts can use, and what each error is called on a terminal."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from telewire.cli.texts import harmless, json_text, python_text
from telewire.errors import (
    Abort,
    DeadlineExceeded,
    NetworkError,
    ProtocolError,
    TelewireError,
    TransportUnsuitable,
)

__all__ = ["STATUSES", "Status", "sentence_of", "status_of"]


class Status(IntEnum):
    """How a command ended."""

    GOOD = 0
    REMOTE = 1
    USAGE = 2
    CONNECTION = 3
    DEADLINE = 4
    INTERRUPTED = 130


STATUSES: Final = """\b
Exit status:
  0    it went well
  1    the other side refused (Abort) or failed; its value stands on standard error
  2    wrong usage, or a file here that cannot be read or written
  3    no connection, or it was lost
  4    the deadline passed
  130  Ctrl-C: the call was cancelled on the other side too"""
"""For the help of commands that call."""


def status_of(error: Exception) -> Status:
    """The exit status for an error of a call."""
    if isinstance(error, DeadlineExceeded):
        return Status.DEADLINE
    if isinstance(error, NetworkError | TransportUnsuitable | ProtocolError):
        return Status.CONNECTION
    return Status.REMOTE if isinstance(error, TelewireError) else Status.USAGE


def sentence_of(error: Exception, json: bool = False) -> str:
    """One line for an error; an Abort's value stands in it whole, text of the other side escaped."""
    if isinstance(error, Abort):
        return json_text({"abort": error.value}) if json else f"Refused: {python_text(error.value)}"
    text = harmless(str(error))
    if json:
        return json_text({"error": type(error).__name__, "message": text})
    return f"{type(error).__name__ if isinstance(error, TelewireError) else 'Error'}: {text}"
