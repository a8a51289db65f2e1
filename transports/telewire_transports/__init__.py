"""Transports of telewire: thin adapters that move batches and decide nothing about the protocol.

``connect`` and ``serve`` are what most programs need. ``connect_websocket`` and ``serve_websocket``
carry batches over WebSocket, ``Http1Client`` and ``serve_http1`` each call as one HTTP request,
``memory_transports`` between two tasks of one process. Each is checked by
:func:`telewire.testing.transports.check_transport`.
"""

from __future__ import annotations

from telewire_transports.connecting import connect, serve
from telewire_transports.http1 import Http1Client, serve_http1
from telewire_transports.memory import MemoryLink, MemoryTransport, memory_transports
from telewire_transports.stopping import ServeOptions, serve_until_signal, until_signal
from telewire_transports.urls import ParsedUrl, parse_url
from telewire_transports.web_rules import WebRules
from telewire_transports.websocket import WebSocketListener, connect_websocket, serve_websocket

__all__ = [
    "Http1Client",
    "MemoryLink",
    "MemoryTransport",
    "ParsedUrl",
    "ServeOptions",
    "WebRules",
    "WebSocketListener",
    "connect",
    "connect_websocket",
    "memory_transports",
    "parse_url",
    "serve",
    "serve_http1",
    "serve_until_signal",
    "serve_websocket",
    "until_signal",
]
