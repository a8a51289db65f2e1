"""Fixtures of the security tests: those of the runtime's, and certificates."""

from __future__ import annotations

from tests.runtime.conftest import bugs, connected, guarded, log, transport
from tests.transports.conftest import tls

__all__ = ["bugs", "connected", "guarded", "log", "tls", "transport"]
