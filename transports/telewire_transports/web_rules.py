"""WebRules: which Origin and Host a server answers (D19), on every carrier alike.

A page of any site can open a WebSocket to any address, with the visitor's cookies; its browser says
so in Origin. And a site can point its own name at an address of the visitor's network; the browser
says so in Host.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from telewire_transports.text import printable

__all__ = ["WebRules"]

_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True)
class WebRules:
    """What was asked for with ``origins=`` and ``hosts=``.

    ``origins`` are written as browsers send them (``https://app.example``). ``hosts`` are names, which
    stand for any port, or names with a port; ``*`` stands for all. Without ``hosts``, the bound names
    with the bound port are served; a server bound to every interface answers to any IP address, to
    ``localhost`` and to the name of the machine, none of which a foreign site can take.
    """

    bound: str | None
    origins: frozenset[str]
    hosts: frozenset[str]

    @classmethod
    def make(cls, bound: str | None, origins: Collection[str], hosts: Collection[str]) -> WebRules:
        """Take the arguments of ``serve``.

        Raises:
            TypeError: a single string was given where several are meant.
        """
        for name, given in (("origins", origins), ("hosts", hosts)):
            if isinstance(given, str):
                raise TypeError(f"{name}={given!r} is one string; write {name}=({given!r},).")
        return cls(
            bound,
            frozenset(origin.lower().rstrip("/") for origin in origins),
            frozenset(host.lower() for host in hosts),
        )

    def refusal(self, headers: Mapping[str, str], port: int) -> str | None:
        """Why a request that came in on ``port`` is refused, or None; header names in lower case."""
        host = headers.get("host", "").lower()
        if not self._host_served(host, port):
            return (
                f"The Host {printable(host)!r} is not served here. "
                "Whoever runs this server can allow it with hosts=."
            )
        origin = headers.get("origin")
        listed = origin is not None and origin.lower() in self.origins
        if origin is not None and not listed and not _same(origin.lower(), host):
            return (
                f"The Origin {printable(origin)!r} may not call this server. "
                "Whoever runs it can allow it with origins=."
            )
        if headers.get("sec-fetch-site", "").lower() == "cross-site" and not listed:
            return "Sec-Fetch-Site says cross-site, and no Origin that origins= allows was named."
        return None

    def _host_served(self, host: str, port: int) -> bool:
        name, given = _split(host)
        if not name:
            return False
        if self.hosts:
            return "*" in self.hosts or host in self.hosts or name in self.hosts
        if (given or "") not in (str(port), "" if port in (80, 443) else str(port)):
            return False
        bound = (self.bound or "").lower().strip("[]")
        if bound in ("", "0.0.0.0", "::"):
            return name in _LOOPBACK or name == socket.gethostname().lower() or _address(name) is not None
        address = _address(bound)
        if bound == "localhost" or (address is not None and address.is_loopback):
            loopback = _address(name)
            return name in _LOOPBACK or (loopback is not None and loopback == address)
        return name == bound or (address is not None and _address(name) == address)


def _split(host: str) -> tuple[str, str | None]:
    """Cut a Host header into name and port; an IPv6 address keeps its brackets."""
    if host.startswith("["):
        name, bracket, rest = host.partition("]")
        return name + bracket, rest[1:] if rest.startswith(":") else None
    name, colon, port = host.partition(":")
    return name, port if colon else None


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return None


def _same(origin: str, host: str) -> bool:
    """Whether a page of ``origin`` was loaded from ``host``; the scheme says which port need not stand."""
    scheme, separator, authority = origin.partition("://")
    if not separator or scheme not in ("http", "https"):
        return False
    usual = "443" if scheme == "https" else "80"
    name, port = _split(authority)
    host_name, host_port = _split(host)
    return bool(name) and name == host_name and (port or usual) == (host_port or usual)
