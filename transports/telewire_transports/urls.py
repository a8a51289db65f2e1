"""parse_url: what a URL says about where to connect and which transports can get there."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

from telewire.runtime.transport import TransportName

__all__ = ["ParsedUrl", "parse_url"]

_WEB: Final[tuple[TransportName, ...]] = ("websocket", "http", "sse")
_SCHEMES: Final[dict[str, tuple[bool, tuple[TransportName, ...]]]] = {
    "http": (False, _WEB),
    "https": (True, _WEB),
    "ws": (False, ("websocket",)),
    "wss": (True, ("websocket",)),
}
_KEPT: Final = "%/:@!$&'()*+,;=-._~?"


@dataclass(frozen=True, slots=True, repr=False)
class ParsedUrl:
    """A URL in parts. ``path`` includes the query, percent-encoded as it goes into the request."""

    scheme: str
    host: str
    port: int
    path: str
    tls: bool
    transports: tuple[TransportName, ...]

    @property
    def authority(self) -> str:
        """Host and port as they stand in a Host header: the port only where it is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    def __repr__(self) -> str:
        return f"<ParsedUrl {self}>"

    def __str__(self) -> str:
        """The URL without its query, which may hold what no log should."""
        return f"{self.scheme}://{self.authority}{self.path.partition('?')[0]}"


def parse_url(url: str) -> ParsedUrl:
    """Take a URL apart.

    Raises:
        ValueError: it is no http, https, ws or wss URL of a host; the message says what would do.
    """
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator:
        raise ValueError(
            f"The URL {url!r} has no scheme; did you mean 'http://{url.lstrip('/')}'? "
            "http://, https://, ws:// and wss:// can be used."
        )
    if scheme not in _SCHEMES:
        raise ValueError(
            f"The URL {url!r} begins with {scheme}://; use one of http://, https://, ws:// or wss://."
        )
    if "@" in rest.partition("/")[0]:
        # The URL is not repeated: it holds a password.
        raise ValueError(
            f"The {scheme}:// URL holds a user name or password; pass credentials with headers= instead."
        )
    tls, transports = _SCHEMES[scheme]
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        port = parts.port
    except ValueError as error:
        raise ValueError(f"The URL {url!r} cannot be read: {error}.") from error
    if port == 0:
        raise ValueError(f"The URL {url!r} names port 0; name the port that the server told.")
    if parts.fragment:
        raise ValueError(f"The URL {url!r} has a fragment (#…), which is never sent; leave it out.")
    path = quote(parts.path or "/", safe=_KEPT)
    if parts.query:
        path += "?" + quote(parts.query, safe=_KEPT)
    return ParsedUrl(scheme, _host(url, parts.hostname), port or (443 if tls else 80), path, tls, transports)


def _host(url: str, host: str | None) -> str:
    if not host:
        raise ValueError(f"The URL {url!r} names no host; write it as 'http://127.0.0.1:8000/telewire'.")
    if ":" in host:
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError as error:
            raise ValueError(f"The URL {url!r} holds no IPv6 address between its brackets.") from error
    try:
        encoded = host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ValueError(f"The URL {url!r} names the host {host!r}, which no host can be called.") from error
    if not all(each.isalnum() or each in "-._" for each in encoded):
        raise ValueError(f"The URL {url!r} names the host {host!r}, which no host can be called.")
    return encoded
