"""The specification as something to run: its vectors and scenarios, against any implementation."""

from __future__ import annotations
