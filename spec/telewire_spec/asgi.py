"""The conformance service as an application for ASGI servers: ``uvicorn telewire_spec.asgi:application``."""

from __future__ import annotations

from telewire_spec.service import service
from telewire_transports.asgi import TelewireASGI

__all__ = ["application"]

application = TelewireASGI(service)
