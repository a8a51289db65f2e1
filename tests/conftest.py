"""Fixtures of every test: the two backends that telewire runs on."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run the test once on each backend."""
    chosen: str = request.param
    return chosen
