"""Showing what a call gave: values at once, and what comes later in them as it comes."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from typing import Any, Final, final

import anyio
import anyio.abc
import click

from telewire.cli.outcomes import Status, sentence_of, status_of
from telewire.cli.output import Output
from telewire.cli.saving import Bars, Saver
from telewire.cli.texts import Placeholder, json_text, python_text
from telewire.errors import TelewireError
from telewire.runtime.byte_stream import ByteStream
from telewire.runtime.channel import Channel
from telewire.runtime.function import RemoteFunction
from telewire.runtime.iterator import RemoteIterator
from telewire.runtime.promise import RemotePromise

__all__ = ["Results", "label"]

Path = tuple[str | int, ...]
KINDS: Final[dict[type, str]] = {
    RemoteIterator: "generator",
    RemotePromise: "promise",
    ByteStream: "byte stream",
    Channel: "channel",
    RemoteFunction: "function",
}


def _kind_of(value: object) -> str | None:
    """What something with a life is called; None for plain values."""
    return next((name for kind, name in KINDS.items() if isinstance(value, kind)), None)


def label(path: Path) -> str:
    """Where in a result something stood, as people write it: ``answers[0].text``."""
    text = ""
    for key in path:
        if isinstance(key, str) and key.isidentifier():
            text += f".{key}" if text else key
        else:
            text += f"[{key!r}]"
    return text


@final
class Results:
    """Prints the result of one call and follows everything in it that has a life.

    Plain values are lines on standard output: Python, or JSON. Where the result is one generator or
    channel, so is each of its items. Inside of a value, a line says where it belongs. What fails is
    a sentence on standard error, and the rest goes on; ``status`` is that of the first failure.
    """

    def __init__(self, json: bool, output: str | None, bars: Bars) -> None:
        self._json = json
        self._output = Output()
        self._saver = Saver(output, bars, self.tell)
        self.status = Status.GOOD
        self.unwanted = False
        """Whether standard output was closed by who read it: then there is nothing left to do."""

    # Any: a result of whatever type.
    async def show(self, result: Any) -> None:
        """Show it all; returns when the last stream in it has ended."""
        async with anyio.create_task_group() as group:
            await self._show(group, result, ())

    def tell(self, sentence: str) -> None:
        """Say something on standard error."""
        click.echo(sentence, err=True)

    def fail(self, error: Exception, path: Path = ()) -> None:
        """Say what has failed, and let it count."""
        sentence = sentence_of(error, self._json)
        self.tell(f"{label(path)}: {sentence}" if path and not self._json else sentence)
        if self.status is Status.GOOD:
            self.status = status_of(error)

    # Any: values of every type are shown.
    async def _show(
        self, group: anyio.abc.TaskGroup, value: Any, path: Path, number: int | None = None
    ) -> None:
        """Print ``value`` and start to follow what is in it; ``number`` is that of an item of several."""
        later: list[tuple[Path, object]] = []
        plain = self._plain(value, path if number is None else (*path, number), later)
        # What is nothing but one handle is its own announcement, except a function.
        handle_only = bool(later) and later[0][1] is value
        if not handle_only:
            await self._print(group, plain, path, number is not None)
        for where, handle in later:
            group.start_soon(self._follow, group, where, handle, handle_only and number is None and not path)

    # Any: the same.
    def _plain(self, value: Any, path: Path, later: list[tuple[Path, object]]) -> Any:
        """``value`` with placeholders for what has a life; that is added to ``later``."""
        name = _kind_of(value)
        if name is not None:
            if not isinstance(value, RemoteFunction):
                later.append((path, value))
            return f"<{name}>" if self._json else Placeholder(name)
        if isinstance(value, Mapping):
            return {
                key: self._plain(one, (*path, key if isinstance(key, str | int) else repr(key)), later)
                for key, one in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._plain(one, (*path, index), later) for index, one in enumerate(value)]
        if isinstance(value, set | frozenset) and any(map(_kind_of, value)):
            return [self._plain(one, (*path, index), later) for index, one in enumerate(value)]
        return value

    # Any: the same.
    async def _print(self, group: anyio.abc.TaskGroup, plain: Any, path: Path, item: bool) -> None:
        if self._json:
            text = json_text({"at": list(path), "value": plain} if path else plain)
        else:
            wide = None if item or path else shutil.get_terminal_size((100, 24)).columns
            text = (f"{label(path)}: " if path else "") + python_text(plain, wide)
        try:
            await self._output.line(text)
        except BrokenPipeError:
            self._leave(group)

    async def _follow(self, group: anyio.abc.TaskGroup, path: Path, handle: object, alone: bool) -> None:
        try:
            if isinstance(handle, RemotePromise):
                await self._show(group, await handle, path)
            elif isinstance(handle, ByteStream):
                await self._saver.save(handle, alone=alone)
            elif isinstance(handle, RemoteIterator | Channel):
                number = 0
                async for item in handle:
                    await self._show(group, item, path, number)
                    number += 1
                if isinstance(handle, RemoteIterator) and handle.value is not None:
                    self._show_returned(group, handle.value, path)
        except BrokenPipeError:
            self._leave(group)
        except (TelewireError, OSError) as error:
            self.fail(error, path)

    # Any: the same.
    def _show_returned(self, group: anyio.abc.TaskGroup, value: Any, path: Path) -> None:
        """What a generator returned is none of its items: it goes to standard error."""
        later: list[tuple[Path, object]] = []
        where = (*path, "returned")
        plain = self._plain(value, where, later)
        self.tell(f"{label(where)}: {python_text(plain)}")
        for inner, handle in later:
            group.start_soon(self._follow, group, inner, handle, False)

    def _leave(self, group: anyio.abc.TaskGroup) -> None:
        """Nobody reads standard output any more: end, and let Python write its last words nowhere."""
        self.unwanted = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        group.cancel_scope.cancel()
