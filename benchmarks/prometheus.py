"""A real Prometheus beside the services of a rig, with our rules, on loopback; its folder goes with it.

async with Prometheus(rig) as prometheus:
    series = prometheus.query_range("sum(dsm_stt_sessions)", began_s, ended_s)
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Self

from benchmarks.results import ROOT
from benchmarks.rig import Rig
from services.cli.child import Child

MONITORING = ROOT / "deploy" / "monitoring"
SCRAPE_EVERY_S = 2
# As Grafana does with its $__rate_interval: four scrapes.
RATE_INTERVAL = f"{4 * SCRAPE_EVERY_S}s"
_START_S = 60.0
_STOP_S = 20.0
_CONFIG = f"""
global: {{scrape_interval: {SCRAPE_EVERY_S}s, evaluation_interval: {SCRAPE_EVERY_S}s}}
rule_files: [{MONITORING}/recording-rules.yaml, {MONITORING}/alerts.yaml]
scrape_configs:
  - job_name: dsm-stt
    file_sd_configs: [{{files: [targets.json], refresh_interval: 1s}}]
"""


class PrometheusMissing(Exception):
    """No Prometheus is installed on this machine."""


class Prometheus:
    """One Prometheus, for as long as the block."""

    def __init__(self, rig: Rig) -> None:
        """rig: its processes need DSM_METRICS_LISTEN. Raises PrometheusMissing."""
        program = shutil.which("prometheus")
        if program is None:
            raise PrometheusMissing("wanted prometheus in PATH (Debian and Ubuntu: apt-get install prometheus)")
        self._program = program
        self._rig = rig
        self._folder = Path(tempfile.mkdtemp(prefix="dsm-prometheus-"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._address = f"127.0.0.1:{free.getsockname()[1]}"

    async def __aenter__(self) -> Self:
        (self._folder / "prometheus.yml").write_text(_CONFIG)
        self._write_targets()
        self._process = self._start()
        self._following = asyncio.create_task(self._follow_targets())
        await self._until_ready()
        return self

    def _start(self) -> subprocess.Popen[bytes]:
        command = [
            self._program,
            f"--config.file={self._folder}/prometheus.yml",
            f"--storage.tsdb.path={self._folder}/data",
            f"--web.listen-address={self._address}",
            "--enable-feature=exemplar-storage",
        ]
        with (self._folder / "log").open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=self._folder)

    async def _until_ready(self) -> None:
        deadline_s = time.monotonic() + _START_S
        while time.monotonic() < deadline_s:
            try:
                await asyncio.to_thread(self._get, "/-/ready")
            except OSError:
                await asyncio.sleep(0.2)
            else:
                return
        raise TimeoutError((self._folder / "log").read_text()[-2000:])

    async def _follow_targets(self) -> None:
        """Workers that are replaced have other ports."""
        while True:
            await asyncio.sleep(1.0)
            self._write_targets()

    def _write_targets(self) -> None:
        children = [self._rig.gateway, *(worker.child for worker in self._rig.workers)]
        targets = [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"process": child.name}}
            for child in children
            if (port := _metrics_port(child)) is not None
        ]
        partial = self._folder / "targets.partial"
        partial.write_text(json.dumps(targets))
        partial.rename(self._folder / "targets.json")

    def version(self) -> str:
        """Return Prometheus's version."""
        return str(json.loads(self._get("/api/v1/status/buildinfo"))["data"]["version"])

    def targets(self) -> dict[str, str]:
        """Return the health of every target by its process."""
        active = json.loads(self._get("/api/v1/targets"))["data"]["activeTargets"]
        return {target["labels"]["process"]: target["health"] for target in active}

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Ask for the present value of an expression."""
        return self._data("query", query=expression)["result"]  # type: ignore[no-any-return]

    def query_range(self, expression: str, began_s: float, ended_s: float) -> list[dict[str, Any]]:
        """Ask for an expression over time, a value each scrape. began_s, ended_s: of time.time."""
        asked = {"query": expression, "start": began_s, "end": ended_s, "step": SCRAPE_EVERY_S}
        return self._data("query_range", **asked)["result"]  # type: ignore[no-any-return]

    def exemplars(self, selector: str, began_s: float, ended_s: float) -> list[dict[str, Any]]:
        """Ask for the exemplars of series."""
        found = self._data("query_exemplars", query=selector, start=began_s, end=ended_s)
        return [exemplar for series in found for exemplar in series["exemplars"]]

    def _data(self, what: str, **asked: Any) -> Any:
        return json.loads(self._get(f"/api/v1/{what}?{urllib.parse.urlencode(asked)}"))["data"]

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://{self._address}{path}", timeout=10) as response:
            return bytes(response.read())

    async def __aexit__(self, *_: object) -> None:
        self._following.cancel()
        self._process.terminate()
        try:
            await asyncio.to_thread(self._process.wait, _STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _metrics_port(child: Child) -> int | None:
    """Return the port that the newest process of this name says it serves its metrics on."""
    port = None
    with child.log_file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if '"event": "metrics"' in line:
                port = int(json.loads(line)["port"])
    return port
