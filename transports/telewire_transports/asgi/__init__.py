"""TelewireASGI: a service inside any ASGI application, under any ASGI server.

::

    app.mount("/telewire", TelewireASGI(service))

carries WebSockets, HTTP sessions and exchanges, under uvicorn, hypercorn or granian, beside ordinary routes.
"""

from __future__ import annotations

from telewire_transports.asgi.application import TelewireASGI

__all__ = ["TelewireASGI"]
