"""HTTP/1.1, client and server: a POST with a streamed response is a call, or a session with more POSTs."""

from __future__ import annotations

from telewire_transports.http1.client import Http1Client
from telewire_transports.http1.server import exchange_route, serve_http1
from telewire_transports.http1.session_client import HttpSessions
from telewire_transports.http1.session_server import session_route

__all__ = ["Http1Client", "HttpSessions", "exchange_route", "serve_http1", "session_route"]
