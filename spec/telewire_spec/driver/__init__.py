"""The driver protocol of the conformance suite, and this implementation behind it."""

from __future__ import annotations
