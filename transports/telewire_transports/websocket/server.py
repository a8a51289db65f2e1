"""serve_websocket: the server's handshake, and what is refused before it."""

from __future__ import annotations

import ssl
from collections.abc import Collection, Mapping
from typing import TypeAlias

import h11
import wsproto
from wsproto.events import AcceptConnection, RejectConnection
from wsproto.utilities import RemoteProtocolError as HandshakeError

from telewire.limits import Limits
from telewire.runtime.transport import AcceptTransport, Request
from telewire_transports.sockets import ByteLink
from telewire_transports.text import printable
from telewire_transports.web_door import Refusal, Route, WebListener, listen_web, make_door
from telewire_transports.websocket.frames import SUBPROTOCOL
from telewire_transports.websocket.transport import WebSocketTransport

__all__ = ["WebSocketListener", "serve_websocket", "websocket_route"]

WebSocketListener: TypeAlias = WebListener


async def serve_websocket(
    accept: AcceptTransport,
    *,
    host: str | None = "127.0.0.1",
    port: int = 8000,
    path: str = "/telewire",
    ssl_context: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    origins: Collection[str] = (),
    hosts: Collection[str] = (),
) -> WebSocketListener:
    """Accept WebSockets at ``path`` and hand each to ``accept`` once its handshake is done.

    ``port`` 0 takes a free one, told by the listener. ``origins`` and ``hosts`` widen who may call
    (:class:`WebRules`). A handshake may take ``limits.hello_seconds``. The caller owes ``aclose``.

    Raises:
        OSError: the address cannot be bound.
        ValueError: ``path`` does not begin with a slash.
    """
    door = make_door(host, path, limits, origins, hosts)
    door.routes[b"GET"] = websocket_route(accept, door.limits)
    return await listen_web(door, host=host, port=port, ssl_context=ssl_context)


def websocket_route(accept: AcceptTransport, limits: Limits, worker: str = "") -> Route:
    """What a door does with GET: open a WebSocket; ``worker`` is told to clients (TW-SES-108)."""

    def route(
        link: ByteLink,
        http: h11.Connection,
        request: h11.Request,
        headers: Mapping[str, str],
        rest: bytes,
        peer: str | None,
    ) -> None:
        _check(headers)
        target = request.target.decode("ascii")
        link.write(_response(request, target, worker))
        found = Request(path=target.partition("?")[0], headers=headers, peer=peer, transport="websocket")
        transport = WebSocketTransport(link, found, limits, client=False)
        transport.start(accept, http.trailing_data[0] + rest)

    return route


def _check(headers: Mapping[str, str]) -> None:
    if "content-length" in headers or "transfer-encoding" in headers:
        raise Refusal(400, "A WebSocket handshake has no body.")
    if headers.get("upgrade", "").lower() != "websocket":
        raise Refusal(
            426,
            "With GET this address speaks WebSocket; send Upgrade: websocket.",
            (b"Upgrade", b"websocket"),
        )
    offered = [each.strip() for each in headers.get("sec-websocket-protocol", "").split(",")]
    if SUBPROTOCOL not in offered:
        raise Refusal(400, f"Sec-WebSocket-Protocol must offer {SUBPROTOCOL}.")


def _response(request: h11.Request, target: str, worker: str) -> bytes:
    """The answer of a handshake that is complete."""
    upgrade = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    named = [(b"Telewire-Worker", worker.encode())] if worker else []
    try:
        upgrade.initiate_upgrade_connection(list(request.headers), target)
        # A request alone gives one event; the generator is consumed all the same.
        for _ in upgrade.events():
            continue
        return upgrade.send(AcceptConnection(subprotocol=SUBPROTOCOL, extra_headers=named))
    except HandshakeError as error:
        hint = error.event_hint if isinstance(error.event_hint, RejectConnection) else RejectConnection()
        raise Refusal(
            426 if hint.status_code == 426 else 400,
            f"The WebSocket handshake is not complete: {printable(str(error))}.",
            *hint.headers,
        ) from error
    except UnicodeError as error:
        raise Refusal(400, "The headers of a WebSocket handshake are ASCII.") from error
