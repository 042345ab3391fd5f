"""A whole recording, wherever it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from dsm_stt_client.errors import CallerMistake

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO

MOST_BYTES = 64 * 1024 * 1024


def read(source: Source) -> bytes:
    """Read it. A str is a path. Raises OSError, or CallerMistake when it is larger than the service takes."""
    if isinstance(source, bytes | bytearray | memoryview):
        audio = bytes(source)
    elif isinstance(source, str | os.PathLike):
        audio = Path(source).read_bytes()
    else:
        audio = source.read()
    if len(audio) > MOST_BYTES:
        raise CallerMistake(f"wanted a recording of at most {MOST_BYTES} bytes, got {len(audio)}; use a stream")
    return audio
