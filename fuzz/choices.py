"""Choices: decisions read from bytes, so that whoever mutates the bytes changes the story a little."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, final

__all__ = ["Choices"]

Value = TypeVar("Value")


@final
class Choices:
    """Reads decisions from ``data``, a byte each, mostly; at its end all of them are 0."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes that have not been read; a story ends when there are none."""
        return max(0, len(self._data) - self._at)

    def byte(self) -> int:
        """The next byte."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def below(self, bound: int) -> int:
        """A number from 0 to ``bound`` − 1; 0 where there is none."""
        if bound <= 1:
            return 0
        if bound <= 256:
            return self.byte() % bound
        return (self.byte() << 24 | self.byte() << 16 | self.byte() << 8 | self.byte()) % bound

    def one(self, options: Sequence[Value]) -> Value:
        """One of some."""
        return options[self.below(len(options))]

    def chance(self, of_256: int) -> bool:
        """True in ``of_256`` of 256 cases; not at the end of the data."""
        return self.byte() >= 256 - of_256

    def rest(self) -> bytes:
        """All bytes that have not been read."""
        data = self._data[self._at :]
        self._at = len(self._data)
        return data
