"""Certificates for TLS on 127.0.0.1."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "certificate"


@pytest.fixture(scope="session")
def tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A context that serves ``localhost`` and 127.0.0.1, and one that trusts only it."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(HERE / "localhost.pem")
    return serving, ssl.create_default_context(cafile=str(HERE / "localhost.pem"))
