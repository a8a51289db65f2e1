"""Fixtures of the security tests: those of the runtime's."""

from __future__ import annotations

from tests.runtime.conftest import bugs, connected, guarded, log, transport

__all__ = ["bugs", "connected", "guarded", "log", "transport"]
