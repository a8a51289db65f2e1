"""TrustedProxies: which address a request comes from, where proxies say it, and who is believed (D19)."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

__all__ = ["TrustedProxies"]

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_LOOPBACK: Final = ("127.0.0.0/8", "::1/128")


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """The argument ``trusted_proxies`` of ``serve``: addresses and networks that may speak for others.

    Each proxy appends the address that it was called from, so the list is read from its end, and the
    first address that is no trusted proxy is the client: whatever stands before it, anybody can write.
    """

    networks: tuple[Network, ...]

    @classmethod
    def make(cls, given: Collection[str]) -> TrustedProxies:
        """Take the argument of ``serve``; ``localhost`` stands for the loopback addresses.

        Raises:
            TypeError: a single string was given where several are meant.
            ValueError: one is no address or network.
        """
        if isinstance(given, str):
            raise TypeError(f"trusted_proxies={given!r} is one string; write trusted_proxies=({given!r},).")
        networks: list[Network] = []
        for each in given:
            try:
                for text in _LOOPBACK if each == "localhost" else (each,):
                    networks.append(ipaddress.ip_network(text))
            except ValueError as error:
                raise ValueError(
                    f"trusted_proxies has {each!r}, which is no address or network ({error}); "
                    "write '10.0.0.7' or '10.0.0.0/8'."
                ) from None
        return cls(tuple(networks))

    def trusts(self, peer: str | None) -> bool:
        """Whether the other end of a link is a trusted proxy."""
        if not self.networks:
            return False
        address = _address(peer or "")
        return address is not None and self._has(address)

    def peer_of(self, headers: Mapping[str, str], peer: str | None) -> str | None:
        """The address of the client behind trusted proxies; else ``peer``, the other end of the link.

        Where ``Forwarded`` and ``X-Forwarded-For`` say different things, one of them came from the
        client, past a proxy that knows only the other: then neither is believed.
        """
        if not self.networks or not self.trusts(peer):
            return peer
        told = [
            self._client(hops)
            for hops in (_forwarded(headers.get("forwarded")), _listed(headers.get("x-forwarded-for")))
            if hops
        ]
        if not told or told[0] is None or any(each != told[0] for each in told):
            return peer
        return str(told[0])

    def _client(self, hops: list[str]) -> Address | None:
        """The last hop that is no trusted proxy; None where it is no address, or there is none."""
        for hop in reversed(hops):
            address = _address(hop)
            if address is None or not self._has(address):
                return address
        return None

    def _has(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


def _address(text: str) -> Address | None:
    """An address as headers and links write it: with or without port, brackets and quotes."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _listed(header: str | None) -> list[str]:
    return [] if header is None else header.split(",")


def _forwarded(header: str | None) -> list[str]:
    """What stands behind ``for=`` of each element (RFC 7239); one without it is nobody."""
    hops: list[str] = []
    for element in [] if header is None else header.split(","):
        pairs = [pair.partition("=") for pair in element.split(";")]
        values = [value for name, _, value in pairs if name.strip().lower() == "for"]
        hops.append(values[0] if len(values) == 1 else "")
    return hops
