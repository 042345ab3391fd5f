"""Tells when a file was written or replaced, for settings that are read again without a restart."""

from __future__ import annotations

from pathlib import Path


def file_version(path: Path) -> tuple[int, ...]:
    """Return what changes when the file is written or replaced, links followed; () while there is none."""
    try:
        stat = path.stat()
    except OSError:
        return ()
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
