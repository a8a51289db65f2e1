"""Batches over WebSocket, client and server: one binary message is one batch."""

from __future__ import annotations

from telewire_transports.websocket.client import connect_websocket
from telewire_transports.websocket.server import WebSocketListener, serve_websocket, websocket_route
from telewire_transports.websocket.transport import WebSocketTransport

__all__ = [
    "WebSocketListener",
    "WebSocketTransport",
    "connect_websocket",
    "serve_websocket",
    "websocket_route",
]
