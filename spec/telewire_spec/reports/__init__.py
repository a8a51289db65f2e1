"""Reports of a run: for terminals, for machines, and one page for people."""

from __future__ import annotations
