"""Whether the core under test is compiled, and what its tests then do instead of replacing parts of it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from typing import Final

import pytest

from telewire.core import connection

__all__ = ["COMPILED", "Beside", "replaces_a_part"]

COMPILED: Final = connection.__file__.endswith(tuple(EXTENSION_SUFFIXES))

# Compiled code calls its own functions and methods directly, whatever name stands for them meanwhile.
replaces_a_part: Final = pytest.mark.skipif(
    COMPILED, reason="the core is compiled, and the test replaces a part of it"
)


class Beside:
    """Stands before a connection, with functions of a test instead of some of its methods.

    Those of a compiled connection cannot be replaced on itself.
    """

    def __init__(self, core: connection.Connection, **instead: Callable[..., object]) -> None:
        vars(self).update(instead, _core=core)

    def __getattr__(self, name: str) -> object:
        return getattr(vars(self)["_core"], name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(vars(self)["_core"], name, value)
