"""Links to a running server, as simple as they can be: blocking sockets, one batch after the other."""

from __future__ import annotations

from telewire_spec.links.link import Link, LinkFailed, open_link

__all__ = ["Link", "LinkFailed", "open_link"]
