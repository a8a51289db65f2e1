"""WebRules: which Host and Origin are served (D19)."""

from __future__ import annotations

import socket

import pytest

from telewire_transports.web_rules import WebRules


def served(
    rules: WebRules, host: str, *, port: int = 8000, origin: str | None = None, site: str | None = None
) -> bool:
    headers = {"host": host}
    if origin is not None:
        headers["origin"] = origin
    if site is not None:
        headers["sec-fetch-site"] = site
    return rules.refusal(headers, port) is None


@pytest.mark.parametrize(
    ("bound", "host", "expected"),
    [
        ("127.0.0.1", "127.0.0.1:8000", True),
        ("127.0.0.1", "localhost:8000", True),
        ("127.0.0.1", "LOCALHOST:8000", True),
        ("127.0.0.1", "[::1]:8000", True),
        ("127.0.0.1", "127.0.0.1:8001", False),
        ("127.0.0.1", "127.0.0.1", False),
        ("127.0.0.1", "evil.example:8000", False),
        ("127.0.0.1", "127.0.0.1.evil.example:8000", False),
        ("127.0.0.1", "10.0.0.1:8000", False),
        ("127.0.0.1", "", False),
        ("localhost", "127.0.0.1:8000", True),
        ("app.example", "app.example:8000", True),
        ("app.example", "localhost:8000", False),
        ("10.0.0.1", "10.0.0.1:8000", True),
        ("0.0.0.0", "10.0.0.1:8000", True),
        ("::", "[fe80::1]:8000", True),
        (None, f"{socket.gethostname()}:8000", True),
        (None, "evil.example:8000", False),
    ],
)
def test_default_hosts(bound: str | None, host: str, expected: bool) -> None:
    assert served(WebRules.make(bound, (), ()), host) is expected


def test_the_usual_port_need_not_stand() -> None:
    assert served(WebRules.make("app.example", (), ()), "app.example", port=443)
    assert served(WebRules.make("app.example", (), ()), "app.example:80", port=80)


@pytest.mark.parametrize(
    ("hosts", "host", "expected"),
    [
        (("app.example",), "app.example", True),
        (("app.example",), "app.example:1234", True),
        (("App.Example:443",), "app.example:443", True),
        (("app.example:443",), "app.example", False),
        (("app.example",), "127.0.0.1:8000", False),
        (("*",), "anything:1", True),
        (("*",), "", False),
    ],
)
def test_given_hosts(hosts: tuple[str, ...], host: str, expected: bool) -> None:
    assert served(WebRules.make("127.0.0.1", (), hosts), host) is expected


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (None, True),
        ("http://127.0.0.1:8000", True),
        ("https://127.0.0.1:8000", True),
        ("http://127.0.0.1:8001", False),
        ("http://127.0.0.1", False),
        ("http://evil.example", False),
        ("http://127.0.0.1:8000.evil.example", False),
        ("null", False),
        ("", False),
        ("file://", False),
        ("https://App.example", True),
        ("https://app.example:444", False),
    ],
)
def test_origins(origin: str | None, expected: bool) -> None:
    rules = WebRules.make("127.0.0.1", ("https://app.example/",), ())
    assert served(rules, "127.0.0.1:8000", origin=origin) is expected


def test_same_origin_behind_a_proxy_that_ends_tls() -> None:
    assert served(
        WebRules.make("127.0.0.1", (), ("app.example",)), "app.example", origin="https://app.example"
    )


def test_cross_site_needs_a_listed_origin() -> None:
    rules = WebRules.make("127.0.0.1", ("https://app.example",), ())
    assert not served(rules, "127.0.0.1:8000", site="cross-site")
    assert not served(rules, "127.0.0.1:8000", origin="http://127.0.0.1:8000", site="Cross-Site")
    assert served(rules, "127.0.0.1:8000", origin="https://app.example", site="cross-site")
    assert served(rules, "127.0.0.1:8000", site="same-origin")


def test_what_is_repeated_of_a_request_is_escaped() -> None:
    refusal = WebRules.make("127.0.0.1", (), ()).refusal({"host": "\x1b[31mred" + "x" * 1000}, 8000)
    assert refusal is not None
    assert "\x1b" not in refusal
    assert len(refusal) < 400


@pytest.mark.parametrize("name", ["origins", "hosts"])
def test_one_string_is_not_several(name: str) -> None:
    with pytest.raises(TypeError, match=f"write {name}="):
        WebRules.make(None, **{"origins": (), "hosts": (), name: "https://app.example"})
