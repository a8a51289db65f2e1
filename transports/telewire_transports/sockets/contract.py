"""ByteLink, ByteHandler and Listener: what a byte stream offers and what it asks for.

Both sides are plain callbacks on the loop's thread; a link never calls its handler from inside a
call of the handler to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeAlias, final

__all__ = ["NOBODY", "ByteHandler", "ByteLink", "Gate", "LinkFactory", "Listener"]


class ByteHandler(Protocol):
    """Who takes the bytes of a link."""

    def data_received(self, data: bytes) -> None:
        """Take some bytes, cut anywhere."""

    def link_writable(self) -> None:
        """Go on writing: little is left in the link's buffer."""

    def link_lost(self, error: Exception | None) -> None:
        """Learn, exactly once and last, that the link is gone: None after an end of file or a close."""


@final
class Nobody:
    """Who handles a link that is gone; else the two would refer to each other until a collector comes."""

    def data_received(self, data: bytes) -> None:
        """Nothing comes."""

    def link_writable(self) -> None:
        """Nothing leaves."""

    def link_lost(self, error: Exception | None) -> None:
        """That was told."""


NOBODY: Final = Nobody()


class ByteLink(Protocol):
    """One reliable byte stream each way."""

    handler: ByteHandler
    """Who takes the bytes from now on; a handshake sets its successor here."""

    @property
    def peer(self) -> str | None:
        """Address and port of the other side, where there is one."""

    @property
    def local_port(self) -> int:
        """The port on this side."""

    @property
    def tls(self) -> bool:
        """Whether the bytes are encrypted."""

    @property
    def writable(self) -> bool:
        """False while what waits here is above the high-water mark; then ``link_writable`` follows."""

    @property
    def hung_up(self) -> bool:
        """Whether the peer has closed its side, also where what it sent before is not read yet.

        False where the system does not tell.
        """

    def pause_reading(self) -> None:
        """Read nothing more; what was read already may still come. The peer's end is not seen either."""

    def resume_reading(self) -> None:
        """Read again."""

    def write(self, data: bytes) -> None:
        """Queue bytes; never waits. On a closed or dead link this does nothing."""

    def writelines(self, pieces: Sequence[bytes]) -> None:
        """Queue several pieces with one call, in order."""

    def close(self, *, within: float, drain: bool = False) -> None:
        """Send what is queued, then close, in at most ``within`` seconds; ``link_lost`` follows.

        Nothing more is delivered. Closing while the peer still sends makes a reset, which may take
        back what was just sent. So where the peer has not said that it is done, use ``drain``: only the
        sending half is shut (TLS, which has none, is left open for a second), and what arrives is thrown
        away until the peer has closed too.
        """

    def abort(self) -> None:
        """Close at once and drop what is queued; ``link_lost`` follows."""


LinkFactory: TypeAlias = Callable[[ByteLink], ByteHandler]
"""Called once with each new link; gives back who handles its bytes."""


Gate: TypeAlias = Callable[[str | None], Callable[[], object] | None]
"""Called with the peer of each connection that has a TLS handshake before it. Gives what to call when that
is over, whatever became of it; None where there is no room, and the connection is dropped."""


class Listener(Protocol):
    """Something that accepts connections."""

    @property
    def port(self) -> int:
        """The port that is listened on."""

    async def aclose(self) -> None:
        """Accept no more; what was accepted and is in use stays."""
