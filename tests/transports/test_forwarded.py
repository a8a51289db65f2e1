"""TrustedProxies: whose word on forwarded addresses counts, and which address is believed (D19)."""

from __future__ import annotations

import pytest

from telewire.runtime.admission import address_of
from telewire_transports.forwarded import TrustedProxies

PROXY = "10.0.0.7:5000"
TRUSTED = TrustedProxies.make(("10.0.0.0/8", "2001:db8::7"))


@pytest.mark.parametrize(
    ("header", "believed"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, 10.0.0.8", "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9, 10.1.2.3,10.0.0.8", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, 2001:db8::7", "203.0.113.9"),
        # Nobody else is named, or no address is.
        ("10.0.0.8", PROXY),
        ("", PROXY),
        ("unknown", PROXY),
        ("203.0.113.9, unknown", PROXY),
        ("203.0.113.9, x" * 500, PROXY),
        ("127.0.0.1\x00", PROXY),
    ],
)
def test_x_forwarded_for(header: str, believed: str) -> None:
    assert TRUSTED.peer_of({"x-forwarded-for": header}, PROXY) == believed
    # From anybody else it is what anybody can write.
    assert TRUSTED.peer_of({"x-forwarded-for": header}, "203.0.113.1:80") == "203.0.113.1:80"
    assert TrustedProxies.make(()).peer_of({"x-forwarded-for": header}, PROXY) == PROXY


@pytest.mark.parametrize(
    ("header", "believed"),
    [
        ("for=203.0.113.9", "203.0.113.9"),
        ("for=198.51.100.1, For=203.0.113.9;proto=https;by=10.0.0.7", "203.0.113.9"),
        ('for="[2001:db8::1]:4711"', "2001:db8::1"),
        ('for="203.0.113.9:1"; proto=http', "203.0.113.9"),
        ("for=_hidden", PROXY),
        ("for=198.51.100.1, proto=https", PROXY),
        ("for=198.51.100.1;for=203.0.113.9", PROXY),
        ("", PROXY),
    ],
)
def test_forwarded(header: str, believed: str) -> None:
    assert TRUSTED.peer_of({"forwarded": header}, PROXY) == believed
    assert TRUSTED.peer_of({"forwarded": header}, "203.0.113.1:80") == "203.0.113.1:80"


def test_two_headers_that_disagree_are_not_believed() -> None:
    agreeing = {"forwarded": "for=203.0.113.9", "x-forwarded-for": "203.0.113.9"}
    assert TRUSTED.peer_of(agreeing, PROXY) == "203.0.113.9"
    forged = {"forwarded": "for=198.51.100.1", "x-forwarded-for": "203.0.113.9"}
    assert TRUSTED.peer_of(forged, PROXY) == PROXY


def test_what_trusted_proxies_may_be() -> None:
    assert TrustedProxies.make(("localhost",)).trusts("127.0.0.1:1")
    assert TrustedProxies.make(("localhost",)).trusts("[::1]:1")
    assert not TRUSTED.trusts(None)
    assert TRUSTED.trusts("[::ffff:10.0.0.1]:9")
    with pytest.raises(TypeError, match=r"write trusted_proxies=\('10.0.0.7',\)"):
        TrustedProxies.make("10.0.0.7")
    with pytest.raises(ValueError, match=r"'proxy\.local', which is no address"):
        TrustedProxies.make(("proxy.local",))


@pytest.mark.parametrize(
    ("peer", "counted"),
    [
        ("203.0.113.9:4711", "203.0.113.9"),
        ("203.0.113.9", "203.0.113.9"),
        ("[2001:db8:1:2:3:4:5:6]:80", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("[fe80::1%eth0]:80", "fe80::/64"),
        ("[::ffff:203.0.113.9]:80", "203.0.113.9"),
        ("a pipe", "a pipe"),
        (None, None),
    ],
)
def test_by_what_a_peer_is_counted(peer: str | None, counted: str | None) -> None:
    assert address_of(peer) == counted
