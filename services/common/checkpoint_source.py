"""Where the files of a checkpoint are: a folder on this machine, or a repository on the hub."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from services.common.errors import CheckpointError
from services.common.hub import Hub

# A name in config.json that points into another repository, as moshi's loader allows: hf://owner/name/file.
_HUB_SCHEME = "hf://"


class CheckpointSource(Protocol):
    """Finds files by the names that config.json gives them."""

    @property
    def origin(self) -> str:
        """Return what to call this source in messages."""

    def file(self, name: str) -> Path:
        """Return the local path of a file. Raises CheckpointError naming the file and where it was looked for."""


@dataclass(frozen=True)
class Folder:
    """A folder with the same files as a repository."""

    path: Path
    hub: Hub

    @property
    def origin(self) -> str:
        """Return the folder as it was given."""
        return str(self.path)

    def file(self, name: str) -> Path:
        """Return a file of the folder. Raises CheckpointError if it is not there."""
        if name.startswith(_HUB_SCHEME):
            return _elsewhere(name, self.hub)
        path = self.path / name
        if not path.is_file():
            raise CheckpointError(f"{name} is missing: looked for it in {self.path.absolute()}")
        return path


@dataclass(frozen=True)
class Repository:
    """A repository on the hub at one revision."""

    name: str
    revision: str
    hub: Hub
    # Ask the hub for the revision's newest commit even if the cache has one.
    refresh: bool = False

    @property
    def origin(self) -> str:
        """Return the repository and its revision."""
        return f"{self.name}@{self.revision}"

    def file(self, name: str) -> Path:
        """Return a file of the repository, downloaded if need be. Raises CheckpointError if it cannot be had."""
        if name.startswith(_HUB_SCHEME):
            return _elsewhere(name, self.hub)
        return self.hub.fetch(self.name, self.revision, name, refresh=self.refresh)

    def at_commit_of(self, path: Path) -> Repository:
        """Return this repository at the commit that one of its files came from, so that all files are of one commit.

        path: as `file` returned it; the hub's cache keeps it in a folder with the commit's name.
        """
        return replace(self, revision=path.parent.name, refresh=False)


def _elsewhere(url: str, hub: Hub) -> Path:
    owner, _, rest = url.removeprefix(_HUB_SCHEME).partition("/")
    repository, _, name = rest.partition("/")
    if not (owner and repository and name):
        raise CheckpointError(f"{url!r} in config.json is no file on the hub: wanted hf://owner/name/file")
    return hub.fetch(f"{owner}/{repository}", "main", name)
