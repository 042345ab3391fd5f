"""The life of a worker process: health, drain, failure, and what it says when it cannot start."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from dsm_stt.codec.v1 import codec_pb2
from dsm_stt.worker.v1 import worker_pb2
from services.codec.serve import codec_process
from services.common.checkpoint import Checkpoint
from services.common.errors import CheckpointError, ConfigError
from services.common.grpc_server import LIVENESS
from services.common.worker_serve import WorkerSettings
from tests.fakes.engines import FakeCodecEngine
from tests.speech import reason
from tests.stack import SETTINGS, RunningWorker, codec_worker
from tests.worker_calls import codec_call, serving, until

SERVICE = "dsm_stt.codec.v1.CodecService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
REPOSITORY = Path(__file__).parents[2]
# A process that imports torch on a busy machine.
PROCESS_TIMEOUT_S = 120


class Loading:
    """A codec worker that loads for as long as the test wants."""

    def __init__(self, settings: WorkerSettings = SETTINGS, error: Exception | None = None) -> None:
        self.engine = FakeCodecEngine()
        self.go_on = threading.Event()
        self._error = error
        self.running = RunningWorker(codec_process(self._load, "127.0.0.1:0", settings), self.engine)

    def _load(self) -> tuple[FakeCodecEngine, codec_pb2.CodecInfo]:
        self.go_on.wait()
        if self._error is not None:
            raise self._error
        return self.engine, codec_pb2.CodecInfo(codec_id="fake-codec")


class Health:
    """What a probe sees."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = health_pb2_grpc.HealthStub(channel)

    async def check(self, service: str = "") -> Any:
        return (await self._stub.Check(health_pb2.HealthCheckRequest(service=service))).status

    async def everywhere(self) -> set[Any]:
        return {await self.check(service) for service in ("", SERVICE)}

    async def alive(self) -> bool:
        return bool(await self.check(LIVENESS) == SERVING)

    def watch(self, service: str = "") -> Any:
        return self._stub.Watch(health_pb2.HealthCheckRequest(service=service))


@asynccontextmanager
async def probing(running: RunningWorker) -> AsyncIterator[Health]:
    async with grpc.aio.insecure_channel(running.address) as channel:
        yield Health(channel)


async def test_it_answers_probes_while_it_loads_and_serves_once_it_is_warm() -> None:
    loading = Loading()
    await loading.running.listening()
    async with probing(loading.running) as health:
        assert await health.everywhere() == {NOT_SERVING}
        assert await health.alive()
        watch = health.watch(SERVICE)
        assert (await watch.read()).status == NOT_SERVING
        loading.go_on.set()
        async with serving(loading.running):
            assert (await watch.read()).status == SERVING
            assert await health.everywhere() == {SERVING}
            assert await health.alive()


async def test_it_is_not_healthy_while_a_step_is_stuck_and_healthy_again_after() -> None:
    settings = replace(SETTINGS, stuck_after_s=0.05)
    async with (
        serving(codec_worker(FakeCodecEngine(), settings)) as running,
        probing(running) as health,
        codec_call(running) as call,
    ):
        await call.open(1)
        watch = health.watch()
        status = await watch.read()
        if status.status == NOT_SERVING:
            status = await watch.read()
        assert status.status == SERVING
        running.engine.hang()
        await call.send_audio({1: [1]})
        assert (await watch.read()).status == NOT_SERVING
        assert await health.check(SERVICE) == NOT_SERVING
        running.engine.resume()
        assert (await watch.read()).status == SERVING
        await call.until(lambda: call.codes[1])


async def test_only_a_step_that_is_stuck_makes_it_a_case_for_a_restart_while_it_drains_too() -> None:
    # One bit of health told neither a restart's use from its harm: probes on it end workers that load or drain.
    settings = replace(SETTINGS, stuck_after_s=0.05, drain_s=60)
    async with (
        serving(codec_worker(FakeCodecEngine(), settings)) as running,
        probing(running) as health,
        codec_call(running) as call,
    ):
        await call.open(1)
        watch = health.watch(LIVENESS)
        assert (await watch.read()).status == SERVING
        running.engine.hang()
        await call.send_audio({1: [1]})
        assert (await watch.read()).status == NOT_SERVING
        running.engine.resume()
        assert (await watch.read()).status == SERVING
        running.stopping.set()
        await call.until(lambda: call.responses[-1].capacity.draining)
        assert await health.everywhere() == {NOT_SERVING}
        assert await health.alive()
        running.engine.hang()
        await call.send_audio({1: [2]})
        assert (await watch.read()).status == NOT_SERVING
        running.engine.resume()
        assert (await watch.read()).status == SERVING
        assert await health.everywhere() == {NOT_SERVING}
        await call.close(1)


async def test_it_is_not_healthy_once_its_engine_has_failed_and_ends_with_code_1() -> None:
    async with (
        serving(codec_worker(FakeCodecEngine())) as running,
        probing(running) as health,
        codec_call(running) as call,
    ):
        await call.open(1)
        running.engine.fail_at_step = 0
        watch = health.watch()
        while (await watch.read()).status != SERVING:
            pass
        await call.send_audio({1: [1]})
        assert (await watch.read()).status == NOT_SERVING
        assert await running.task == 1
        assert not running.worker.loop.alive()


async def test_it_is_not_healthy_while_it_drains_and_ends_when_its_sessions_have() -> None:
    async with (
        serving(codec_worker(FakeCodecEngine(), replace(SETTINGS, drain_s=60))) as running,
        probing(running) as health,
        codec_call(running) as call,
    ):
        await call.open(1, 2)
        running.stopping.set()
        await call.until(lambda: call.responses[-1].capacity.draining)
        assert await health.everywhere() == {NOT_SERVING}
        await call.close(1)
        await call.until(lambda: call.closed == [1])
        assert not running.task.done()
        await call.close(2)
        assert reason(await call.error()) == "DRAINING"
        assert await running.task == 0
        await until(lambda: not running.worker.loop.alive())


@pytest.mark.parametrize("hung", [False, True], ids=["idle", "in a step that hangs"])
async def test_sessions_that_outlive_the_drain_are_cut_off_and_told(hung: bool) -> None:
    settings = replace(SETTINGS, drain_s=0.05)
    async with serving(codec_worker(FakeCodecEngine(), settings)) as running, codec_call(running) as call:
        await call.open(1, 2)
        if hung:
            running.engine.hang()
            await call.send_audio({1: [1]})
            await asyncio.to_thread(running.engine.hanging.wait)
        running.stopping.set()
        error = await call.error()
        assert (error.code(), reason(error)) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
        assert {number: failure.reason for number, failure in call.failures.items()} == {
            1: worker_pb2.FAILURE_REASON_DRAINING,
            2: worker_pb2.FAILURE_REASON_DRAINING,
        }
        # A step that hangs does not keep the process from ending.
        assert await running.task == 0
        assert running.worker.loop.alive() == hung
        assert running.slots_free == 4


async def test_a_signal_while_loading_ends_it_at_once_and_well() -> None:
    loading = Loading()
    await loading.running.listening()
    loading.running.stopping.set()
    assert await loading.running.task == 0
    loop = loading.running.worker.loop
    assert loop.alive()
    # Nobody waits for the model any more: its thread ends as soon as it can.
    loading.go_on.set()
    await until(lambda: not loop.alive())
    assert not loading.engine.steps


async def test_what_loading_raises_ends_it() -> None:
    error = CheckpointError("no such weights")
    loading = Loading(error=error)
    await loading.running.listening()
    loading.go_on.set()
    with pytest.raises(CheckpointError) as raised:
        await loading.running.task
    assert raised.value is error
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", loading.running.process.server.port)


async def services_by_reflection(running: RunningWorker) -> list[str]:
    async def ask() -> AsyncIterator[Any]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    async with grpc.aio.insecure_channel(running.address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        answers = [answer async for answer in stub.ServerReflectionInfo(ask())]
    return [service.name for answer in answers for service in answer.list_services_response.service]


async def test_reflection_names_the_services_when_it_is_turned_on() -> None:
    async with serving(codec_worker(FakeCodecEngine(), replace(SETTINGS, reflection=True))) as running:
        found = await services_by_reflection(running)
    assert sorted(found) == [
        "dsm_stt.codec.v1.CodecService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    ]


async def test_reflection_is_off_otherwise() -> None:
    async with serving(codec_worker(FakeCodecEngine())) as running:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await services_by_reflection(running)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_the_port_file_is_written_whole_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Services with port files side by side (stack.codec, stack.lm) used to write through one and the same file.
    other = tmp_path / "stack.partial"
    other.write_text("not ours")
    monkeypatch.setenv("DSM_PORT_FILE", str(tmp_path / "stack.codec"))
    async with serving(codec_worker(FakeCodecEngine())) as running:
        assert (tmp_path / "stack.codec").read_text() == f"{running.process.server.port}\n"
        assert sorted(os.listdir(tmp_path)) == ["stack.codec", "stack.partial"]
        assert other.read_text() == "not ours"


async def test_a_port_file_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSM_PORT_FILE", str(tmp_path / "nowhere" / "port"))
    with pytest.raises(ConfigError, match=r"DSM_PORT_FILE: cannot write .*nowhere/port: No such file or directory"):
        await codec_worker(FakeCodecEngine()).task


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "tpu"}, "DSM_DEVICE: wanted one of auto, cpu, cuda, got 'tpu'"),
        ({"dtype": "int4"}, "DSM_DTYPE: wanted one of auto, float32, bfloat16, int8, got 'int4'"),
        ({"credit_frames": 1}, "DSM_CREDIT_FRAMES: wanted 2 to 256, got 1"),
        ({"credit_frames": 257}, "DSM_CREDIT_FRAMES: wanted 2 to 256, got 257"),
        ({"threads": -1}, "DSM_THREADS: wanted 0 or more, got -1"),
        ({"stuck_after_s": 0.0}, "DSM_STUCK_AFTER_S"),
        ({"drain_s": -1.0}, "DSM_DRAIN_S"),
        ({"step_budget_s": -0.1}, "DSM_STEP_BUDGET_S: wanted 0 or more, got -0.1"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        WorkerSettings(**settings)
    assert message in str(raised.value)


# As processes


def run_service(module: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module],
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'proto'}", **environment},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PROCESS_TIMEOUT_S,
        check=False,
    )


@pytest.mark.parametrize("name", ["codec", "lm"])
def test_bad_settings_end_the_process_with_one_line_that_names_them_all(name: str) -> None:
    environment = {f"DSM_{name.upper()}_SLOTS": "many", "DSM_DRAIN_S": "nan", "DSM_REFLECTION": "perhaps"}
    ended = run_service(f"services.{name}", **environment)
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    problems = line.removeprefix("error: ").split("; ")
    assert set(problems) == {
        f"DSM_{name.upper()}_SLOTS: wanted a whole number, got 'many'",
        "DSM_DRAIN_S: wanted a number, got 'nan'",
        "DSM_REFLECTION: wanted true or false, got 'perhaps'",
    }


def test_a_port_that_is_taken_ends_the_process_with_a_line_that_says_so() -> None:
    with taken_port() as port:
        ended = run_service("services.lm", DSM_LM_LISTEN=f"127.0.0.1:{port}")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        f"error: cannot listen on 127.0.0.1:{port}: not an address of this machine, or the port is taken"
    )
    assert "Traceback" not in ended.stderr


def test_a_model_that_is_not_there_ends_the_process_with_a_line_that_says_so(tmp_path: Path) -> None:
    ended = run_service("services.lm", DSM_LM_LISTEN="127.0.0.1:0", DSM_LM_MODEL=str(tmp_path / "no-model"))
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("error: no model ")
    assert "Traceback" not in ended.stderr


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    waiting = threading.Event()
    for _ in range(PROCESS_TIMEOUT_S * 100):
        if condition():
            return
        assert process.poll() is None, "it ended before its time"
        waiting.wait(0.01)
    raise AssertionError("it takes too long")


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_model_loads_ends_the_process_with_code_0(
    signal_number: signal.Signals, tmp_path: Path, mini_checkpoint: Checkpoint
) -> None:
    port_file, log_file = tmp_path / "lm.port", tmp_path / "lm.log"
    environment = {
        "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'proto'}",
        "DSM_LM_LISTEN": "127.0.0.1:0",
        "DSM_LM_MODEL": mini_checkpoint.origin,
        "DSM_PORT_FILE": str(port_file),
    }
    with log_file.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.lm"],
            env={**os.environ, **environment},
            cwd=REPOSITORY,
            stdout=log,
            stderr=log,
            text=True,
        )
    try:
        # It listens before it loads, and loading begins with importing torch.
        wait_for(port_file.exists, process)
        process.send_signal(signal_number)
        assert process.wait(PROCESS_TIMEOUT_S) == 0
    finally:
        process.kill()
        process.wait()
    lines = [json.loads(line) for line in log_file.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["starting", "listening"]
