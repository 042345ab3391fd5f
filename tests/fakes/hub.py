"""A Hugging Face hub of one machine: repositories are folders, and every refusal of the real one can be had."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from services.common.registry import KNOWN_MODELS

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def commit_of(repository: str, other: str = COMMIT) -> str:
    """Return the commit that a repository is at: what the registry pins, or the other one for unknown repositories."""
    pins = {name: pin for model in KNOWN_MODELS.values() for name, pin in model.repositories.items() if pin != "main"}
    return pins.get(repository, other)


@dataclass
class FakeHub:
    """What the hub has; change it while it runs."""

    repositories: dict[str, Path] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    commit: str = COMMIT
    # Answer everything with this status.
    status: int | None = None
    # "HEAD name" and "GET name" of every request, in order.
    requests: list[str] = field(default_factory=list)
    endpoint: str = ""


@contextmanager
def running(hub: FakeHub) -> Iterator[FakeHub]:
    """Serve a fake hub on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            owner, repository, _resolve, revision, name = self.path.strip("/").split("/", 4)
            repository = f"{owner}/{repository}"
            hub.requests.append(f"{self.command} {name}")
            if hub.status is not None:
                return self._refuse(hub.status, "")
            if repository in hub.gated:
                return self._refuse(403, "GatedRepo")
            if repository not in hub.repositories:
                return self._refuse(401, "RepoNotFound")
            commit = commit_of(repository, hub.commit)
            if revision not in ("main", hub.commit, commit):
                return self._refuse(404, "RevisionNotFound")
            file = hub.repositories[repository] / name
            if not file.is_file():
                return self._refuse(404, "EntryNotFound")
            content = file.read_bytes()
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", revision if revision == commit else hub.commit)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if with_body:
                self.wfile.write(content)
            return None

        def _refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Repo-Commit", hub.commit)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def fill_cache(cache: Path, repository: str, files: Path, commit: str | None = None, revision: str = "main") -> Path:
    """Lay out a repository in a cache as huggingface_hub does after fetching it; returns the snapshot's folder."""
    commit = commit or commit_of(repository)
    folder = cache / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / revision).write_text(commit)
    return Path(shutil.copytree(files, folder / "snapshots" / commit))
