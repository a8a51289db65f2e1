"""Readings of processes: what memory and CPU they have taken, and leave to open many files."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

__all__ = ["READABLE", "allow_many_files", "cpu_seconds", "resident_bytes"]

READABLE: Final = Path("/proc/self/statm").exists()
"""Whether this system shows what another process takes; only Linux does without a package."""


def resident_bytes(pid: int) -> int:
    """The memory that a process holds now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """The CPU that a process has had so far, in steps of a hundredth of a second or so."""
    # Behind the name, which stands in brackets and may hold anything.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def allow_many_files(wanted: int = 65_536) -> int:
    """Let this process open as many files as the system lets it, up to ``wanted``; returns how many."""
    if find_spec("resource") is None:
        return 512  # Windows has no such bound for sockets; select() has this one
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS names no bound as the hard one and refuses it as the soft one.
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if sys.platform == "darwin":
        most = min(most, 10_240)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return soft if soft != resource.RLIM_INFINITY else wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most
