"""Arguments of a call as they are typed: JSON, Python literals, texts, files."""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import stat
import sys
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from typing import Final

import anyio
import click

from telewire.runtime.byte_stream import ByteStream

__all__ = ["parse_arguments", "parse_headers"]

NAMED: Final = re.compile(r"(?P<name>[^\W\d]\w*)=(?P<value>.*)", re.DOTALL)
STDIN_BYTES: Final = 64 * 1024
NUMBER: Final = re.compile(r"-\.?\d")


def parse_arguments(words: Sequence[str]) -> tuple[list[object], dict[str, object]]:
    """Positional and named arguments of a call.

    ``name=value`` is a named one. A value is JSON or a Python literal, and else text as it stands;
    ``@file`` is a stream of that file's bytes, ``-`` of standard input's.

    Raises:
        click.UsageError: an option that does not exist, a file that cannot be read, a name given twice,
            a positional argument behind a named one, or standard input asked for twice.
    """
    args: list[object] = []
    kwargs: dict[str, object] = {}
    if sum(word == "-" or word.endswith("=-") for word in words) > 1:
        raise click.UsageError("Standard input can be only one of the arguments; '-' stands there twice.")
    for word in words:
        if len(word) > 1 and word[0] == "-" and not NUMBER.match(word):
            raise click.UsageError(
                f"There is no option {word}; a text that begins with a dash is written in two kinds of "
                f"quotes: '{json.dumps(word)}'"
            )
        named = NAMED.fullmatch(word)
        if named is None:
            if kwargs:
                raise click.UsageError(
                    f"The argument {word} stands behind a named one; named arguments come last."
                )
            args.append(parse_value(word))
        elif named["name"] in kwargs:
            raise click.UsageError(f"The argument {named['name']} is given twice.")
        else:
            kwargs[named["name"]] = parse_value(named["value"])
    return args, kwargs


def parse_value(word: str) -> object:
    """One value as it was typed."""
    if word == "-":
        return ByteStream(standard_input(), name="stdin")
    if word.startswith("@"):
        try:
            return ByteStream(word[1:])
        except OSError as error:
            raise click.UsageError(
                f"The file {word[1:]} cannot be sent: {error.strerror}. A text that begins with @ is written "
                f"in two kinds of quotes: '{json.dumps(word)}'"
            ) from None
    try:
        return json.loads(word, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return word


def _no_constant(name: str) -> object:
    """NaN and the infinities are no JSON, and here rather words."""
    raise ValueError(name)


def standard_input() -> AsyncIterable[bytes] | Iterable[bytes]:
    """What comes on standard input, as soon as it is there.

    It is read from the system itself: Python's own buffer waits until it is full, and a thread that
    still waits in it when the program ends brings it down.
    """
    number = sys.stdin.fileno()
    mode = os.fstat(number).st_mode
    if sys.platform != "win32" and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(number)):
        return _wait_and_read(number)
    # No loop can wait for a file, which need not be waited for, nor for a console of Windows.
    return iter(functools.partial(os.read, number, STDIN_BYTES), b"")


async def _wait_and_read(number: int) -> AsyncIterator[bytes]:
    """Read what may take its time, without a thread that nobody could interrupt."""
    while True:
        await anyio.wait_readable(number)
        if not (chunk := os.read(number, STDIN_BYTES)):
            return
        yield chunk


def parse_headers(lines: Sequence[str]) -> dict[str, str]:
    """Headers of the request from lines such as ``Authorization: Bearer …``.

    Raises:
        click.BadParameter: one has no colon.
    """
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            # The line is not repeated: it is often a secret.
            raise click.BadParameter("a header is written as 'Name: value'.", param_hint="-H")
        headers[name.strip()] = value.strip()
    return headers
