"""Changes a keys file so that a gateway never reads half of one, and two changes never overwrite each other."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.common.errors import ConfigError
from services.gateway.access.api_key import ApiKey
from services.gateway.access.key_file import read_keys, render_keys

_NEW_FILE_MODE = 0o600


@contextmanager
def edited_keys(path: Path) -> Iterator[list[ApiKey]]:
    """Yield the keys of a file, none if it is not there, and write the list back when the block ends without error.

    A new file can be read by its owner only; one that was there keeps its owner and its mode.
    Raises ConfigError when the file has a mistake or cannot be written, or while something else changes it.
    """
    target = path.resolve()
    partial = target.with_name(target.name + ".new")
    try:
        # Beside the file, so that it can take its place in one move; and as a lock, since there can be only one.
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _NEW_FILE_MODE)
    except FileExistsError:
        raise ConfigError(
            f"{partial} exists: another change is under way, or one was interrupted and left it to be removed"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            keys = read_keys(target) if target.exists() else []
            yield keys
            file.write(render_keys(keys))
            file.flush()
            os.fsync(file.fileno())
        # A limit that makes no sense is found here, and not by the gateways.
        read_keys(partial)
        _take_over_owner(target, partial)
        partial.replace(target)
    except BaseException as error:
        # Only then: after the move it could be somebody else's.
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from error
        raise


def _take_over_owner(target: Path, partial: Path) -> None:
    """Let who could read the old file read the new one, above all the gateway."""
    if sys.platform == "win32" or not target.exists():
        return
    old = target.stat()
    new = partial.stat()
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        os.chown(partial, old.st_uid, old.st_gid)
    partial.chmod(old.st_mode & 0o777)
