"""Text from the other side, made harmless before it is shown."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str | bytes, limit: int = 200) -> str:
    """Escape what a terminal might obey, on one line, and cut to ``limit`` characters."""
    if isinstance(text, bytes):
        # A character may take four bytes, so this is enough for the cut below.
        text = text[: 4 * limit + 4].decode("utf-8", "backslashreplace")
    text = text[: limit + 1].strip()
    shown = "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text
    )
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
