"""What a process uses, read from /proc: memory, file descriptors, threads, processor time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Usage(NamedTuple):
    """One look at a process."""

    rss_mib: float
    files: int
    threads: int
    cpu_s: float


def usage(pid: int | str = "self") -> Usage:
    """Look at a process. Raises FileNotFoundError when it has ended."""
    folder = Path("/proc") / str(pid)
    rss_mib = int((folder / "statm").read_text().split()[1]) * _PAGE_MIB
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    cpu_s = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    return Usage(round(rss_mib, 2), len(os.listdir(folder / "fd")), int(fields[17]), cpu_s)
