"""ValueEncodeError: a value cannot travel, with the path to the part that is at fault."""

from __future__ import annotations

__all__ = ["ValueEncodeError"]


class ValueEncodeError(TypeError):
    """A value cannot travel; ``path`` says which part of it and ``problem`` why.

    A ``default`` may raise it with a path below what it was given; the path is then completed.
    """

    def __init__(self, problem: str, path: str = "value") -> None:
        super().__init__(problem, path)
        self.problem = problem
        self.path = path

    def __str__(self) -> str:
        return f"{self.path} {self.problem}"
