"""violations: what an adapter refuses before it is a batch (TW-FRM-004), told to the machine."""

from __future__ import annotations

import pytest

from telewire.core.connection import Connection
from telewire.errors import LocalProtocolError, RemoteProtocolError
from telewire.wire import frames as f
from tests.core.dialogue import C, K, Peer, batch, hello, sent


def test_what_an_adapter_refuses_is_a_broken_rule_like_any_other() -> None:
    peer = Peer()
    peer.say(f.Call(0, "f", 0, 0, b""))
    error = RemoteProtocolError("A text came.", C.MALFORMED)
    peer.core.receive_violation(error, 1.0)
    assert peer.closed() is C.MALFORMED
    peer.core.receive_violation(error, 2.0)
    assert peer.core.events_received() == []
    peer.core.receive_eof(3.0)
    with pytest.raises(LocalProtocolError, match="receive_violation"):
        peer.core.receive_violation(error, 4.0)


def test_what_an_adapter_refuses_behind_the_peers_close_means_nothing() -> None:
    connection = Connection("client", exchange=True)
    connection.call("f", b"")
    sent(connection)
    connection.receive_data(batch(hello()), 0.0)
    connection.receive_data(
        batch(f.End(-1, 0, 0, b"", (f.Declaration(0, K.ITEMS),)), f.End(0, 0, 0, b"")), 0.0
    )
    connection.receive_data(batch(f.Items(0, 0, 1, b"\x81\x00"), f.Close(0, "")), 0.0)
    connection.events_received()
    connection.receive_violation(RemoteProtocolError("A text came."), 1.0)
    assert connection.events_received() == []
