"""Readings of processes: what memory and CPU they have taken, and leave to open many files."""

from __future__ import annotations

import ctypes
import os
import re
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Final

__all__ = ["READABLE", "allow_many_files", "bytes_in_use", "cpu_seconds", "resident_bytes", "waited_seconds"]

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


def waited_seconds() -> float:
    """How long this thread has been ready to run and had to wait for a CPU that others had."""
    return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9


class _Mallinfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    ]


def bytes_in_use() -> int | None:
    """What this process has allocated and not freed, exactly; None where the C library does not tell.

    Resident memory comes in steps of an arena, 1 MiB, and what was free at the start hides what comes first.
    """
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError):
        return None
    mallinfo.restype = _Mallinfo
    # Small objects are in Python's own arenas, of which only this function of CPython tells, on stderr.
    with tempfile.TemporaryFile() as told:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(told.fileno(), 2)
        try:
            sys._debugmallocstats()
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        told.seek(0)
        found = re.search(rb"# bytes in allocated blocks\s+=\s+([\d,]+)", told.read())
    if found is None:
        return None
    large = mallinfo()
    return int(found[1].replace(b",", b"")) + int(large.uordblks) + int(large.hblkhd)


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
