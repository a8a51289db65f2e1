"""parse_url: what it reads, and errors that show the way out."""

from __future__ import annotations

import pytest

from telewire_transports.urls import parse_url


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "tls", "authority"),
    [
        ("http://127.0.0.1:8000/telewire", "127.0.0.1", 8000, "/telewire", False, "127.0.0.1:8000"),
        ("https://app.example/a/b?x=1 2", "app.example", 443, "/a/b?x=1%202", True, "app.example"),
        ("ws://Host.Example", "host.example", 80, "/", False, "host.example"),
        ("WSS://[::1]:81/x", "::1", 81, "/x", True, "[::1]:81"),
        ("http://bücher.example/ä", "xn--bcher-kva.example", 80, "/%C3%A4", False, "xn--bcher-kva.example"),
        ("http://h/a%20b", "h", 80, "/a%20b", False, "h"),
    ],
)
def test_parts(url: str, host: str, port: int, path: str, tls: bool, authority: str) -> None:
    parsed = parse_url(url)
    assert (parsed.host, parsed.port, parsed.path, parsed.tls) == (host, port, path, tls)
    assert parsed.authority == authority
    assert parsed.transports == (("websocket",) if url.lower()[0] == "w" else ("websocket", "http", "sse"))


def test_a_url_is_shown_without_its_query() -> None:
    assert str(parse_url("https://h:8443/a?secret=1")) == "https://h:8443/a"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("localhost:8000", "did you mean 'http://localhost:8000'"),
        ("//localhost:8000", "did you mean 'http://localhost:8000'"),
        ("ftp://h/", "use one of http://"),
        ("http://", "names no host"),
        ("http:///telewire", "names no host"),
        ("http://h:99999/", "cannot be read"),
        ("http://h:x/", "cannot be read"),
        ("http://h:0/", "port 0"),
        ("http://h/#part", "fragment"),
        ("http://[::zz]/", "IPv6|cannot be read"),
        ("http://a b/", "no host can be called"),
        ("http://" + "a" * 64 + "/", "no host can be called"),
    ],
)
def test_errors_name_the_way_out(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_url(url)


def test_credentials_are_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="headers=") as caught:
        parse_url("https://user:hunter2@h/")
    assert "hunter2" not in str(caught.value)


def test_the_query_is_shown_nowhere() -> None:
    url = parse_url("https://h/telewire?token=hunter2")
    assert url.path == "/telewire?token=hunter2"
    for text in (str(url), repr(url), f"{[url]}"):
        assert "https://h/telewire" in text
        assert "hunter2" not in text
