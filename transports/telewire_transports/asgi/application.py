"""TelewireASGI: the application that ASGI servers call: judges each request and hands it to its carrier."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, final

import anyio

from telewire.limits import Limits, ServerLimits
from telewire.runtime.admission import Admission, address_of
from telewire.runtime.backend import current_backend
from telewire.runtime.server import Server
from telewire.runtime.service import Service
from telewire.runtime.transport import Request, TransportName
from telewire_transports.asgi.carrier import Receive, Scope, Send
from telewire_transports.asgi.exchange import AsgiExchange
from telewire_transports.asgi.session import AsgiDownlink, take_post
from telewire_transports.asgi.websocket import AsgiWebSocket
from telewire_transports.downlinks import Downlinks, opens
from telewire_transports.forwarded import TrustedProxies
from telewire_transports.http1.server import check_exchange
from telewire_transports.web_door import OPEN, SESSION_HEADER, Refusal
from telewire_transports.web_rules import WebRules
from telewire_transports.websocket.frames import SUBPROTOCOL

__all__ = ["TelewireASGI"]

CLOSE_SECONDS: Final = 5.0
DRAIN_SECONDS: Final = 5.0
_POLICY: Final = 1008


@final
class TelewireASGI:
    """A service as an ASGI 3 application, to be mounted or run alone; on asyncio and trio.

    ::

        app = Starlette(routes=[Mount("/telewire", TelewireASGI(service))])

    It needs no lifespan. Where the application around it has one, :attr:`lifespan` lets calls that run
    end in order when the server stops: ``Starlette(lifespan=telewire_app.lifespan)``, or
    ``async with telewire_app.lifespan(app):`` inside a lifespan of your own.

    Args:
        service: what is served.
        limits: what this side accepts of each connection.
        origins: web origins that may call besides the server's own.
        hosts: names in the Host header that are allowed besides the address that the server is bound to;
            behind a proxy, its public name. ``"*"`` stands for all.
        trusted_proxies: who is believed about the addresses of clients, where the server leaves that to us.
        server_limits: what all connections may take together.
        resume_window: seconds for which a client that lost its connection is waited for; 60 unless
            ``limits`` say otherwise.
        drain_seconds: how long what is open may go on when the lifespan ends, or with :meth:`drain`.
    """

    def __init__(
        self,
        # Any: a service of any provider.
        service: Service[Any],
        *,
        limits: Limits | None = None,
        origins: Collection[str] = (),
        hosts: Collection[str] = (),
        trusted_proxies: Collection[str] = (),
        server_limits: ServerLimits | None = None,
        resume_window: float | None = None,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        self._service = service
        self._limits = (limits or Limits()).with_resume_window(resume_window)
        self._origins = origins
        self._hosts = hosts
        self._rules: dict[str | None, WebRules] = {}
        self._rules_of(None)
        self._proxies = TrustedProxies.make(trusted_proxies)
        self._admission = Admission(server_limits)
        self._drain_seconds = drain_seconds
        self._server: Server | None = None
        self._downlinks = Downlinks(lambda request: self._serving.principal_of(request))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of the ASGI server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    # Any: the application around it, of whatever framework; it is not looked at.
    @asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[None]:
        """On leaving, clients are asked to leave and what is open may go on for ``drain_seconds``.

        What runs still is closed as going away, and user code is waited for, within bounds.
        """
        try:
            yield
            await self.drain()
        finally:
            server, self._server = self._server, None
            if server is not None:
                with anyio.CancelScope(shield=True):
                    with anyio.move_on_after(CLOSE_SECONDS):
                        await server.aclose()
                    with anyio.move_on_after(CLOSE_SECONDS):
                        await server.abort()

    async def drain(self) -> bool:
        """Ask clients to leave, and wait until what is open has ended, at most ``drain_seconds``.

        For applications whose server closes connections before it ends their lifespan: call it when the
        program is told to end, before the server is. Returns whether all have gone.
        """
        if self._server is None:
            return True
        return await self._server.drain(self._drain_seconds)

    # --- inside ----------------------------------------------------------------------------------

    @property
    def _serving(self) -> Server:
        if self._server is None:
            self._server = Server(current_backend(), self._service, self._limits, self._admission)
        return self._server

    def _rules_of(self, bound: str | None) -> WebRules:
        if bound not in self._rules:
            self._rules[bound] = WebRules.make(bound, self._origins, self._hosts)
        return self._rules[bound]

    def _judge(self, scope: Scope) -> Request:
        """What the request carried, if it may come in.

        Raises:
            Refusal: it may not.
        """
        headers: dict[str, str] = {}
        for raw, value in scope["headers"]:
            name, text = raw.decode("latin-1").lower(), value.decode("latin-1")
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
        bound = scope.get("server") or (None, None)
        reason = self._rules_of(bound[0]).refusal(headers, bound[1] or 0)
        if reason is not None:
            raise Refusal(403, reason)
        peer = self._proxies.peer_of(headers, _peer(scope))
        posted = scope.get("method") == "POST" and headers.get(SESSION_HEADER, OPEN) != OPEN
        reason = None if posted else self._admission.refusal(address_of(peer), conversation=True)
        if reason is not None:
            raise Refusal(503, reason, (b"retry-after", b"5"))
        transport: TransportName = opens(headers) or "http"
        if scope["type"] == "websocket":
            transport = "websocket"
        return Request(
            path=scope.get("path", "/"), headers=headers, peer=peer, transport=transport, native=scope
        )

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            request = self._judge(scope)
            if SUBPROTOCOL not in scope.get("subprotocols", ()):
                raise Refusal(400, f"The client did not offer the subprotocol {SUBPROTOCOL}.")
        except Refusal as refusal:
            await _refuse_websocket(scope, send, refusal)
            return
        worker = [(b"telewire-worker", self._downlinks.worker.encode())]
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL, "headers": worker})
        carrier = AsgiWebSocket(request, receive, send)
        carrier.handler = self._serving.accept(carrier)
        await carrier.run()

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            request = self._judge(scope)
            if scope["method"] != "POST":
                raise Refusal(405, "This address answers to POST and to WebSockets.", (b"allow", b"POST"))
            check_exchange(request.headers)
            if request.headers.get(SESSION_HEADER, OPEN) != OPEN:
                await take_post(self._downlinks.find(request), receive, send, self._limits)
                return
        except Refusal as refusal:
            await _respond(send, refusal)
            return
        if SESSION_HEADER in request.headers:
            downlink = AsgiDownlink(request, receive, send, self._limits, self._downlinks)
            downlink.handler = self._serving.accept(downlink)
            await downlink.run()
            return
        carrier = AsgiExchange(request, receive, send, self._limits, self._downlinks)
        carrier.handler = self._serving.accept_exchange(carrier)
        await carrier.run()

    async def _live(self, receive: Receive, send: Send) -> None:
        """The lifespan protocol, where the server runs this application alone."""
        await receive()
        async with self.lifespan():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


def _peer(scope: Scope) -> str | None:
    client = scope.get("client")
    if client is None:
        return None
    host, port = client
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _headers(refusal: Refusal) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
        *((name.lower(), value) for name, value in refusal.headers),
    ]


async def _respond(send: Send, refusal: Refusal, kind: str = "http.response") -> None:
    body = refusal.message.encode("utf-8", "backslashreplace") + b"\n"
    await send({"type": f"{kind}.start", "status": refusal.status, "headers": _headers(refusal)})
    await send({"type": f"{kind}.body", "body": body, "more_body": False})


async def _refuse_websocket(scope: Scope, send: Send, refusal: Refusal) -> None:
    """Say why, where the server lets us; else it answers 403."""
    extensions: Mapping[str, object] = scope.get("extensions") or {}
    if "websocket.http.response" in extensions:
        await _respond(send, refusal, "websocket.http.response")
    else:
        await send({"type": "websocket.close", "code": _POLICY, "reason": refusal.message[:100]})
