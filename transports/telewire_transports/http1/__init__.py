"""Exchanges over HTTP/1.1, client and server: one POST with a streamed response is one call."""

from __future__ import annotations

from telewire_transports.http1.client import Http1Client
from telewire_transports.http1.server import exchange_route, serve_http1

__all__ = ["Http1Client", "exchange_route", "serve_http1"]
