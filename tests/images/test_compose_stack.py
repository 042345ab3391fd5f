"""The services as containers, started by compose: words are right, and stay so whatever happens to a worker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from benchmarks.containers import SERVICES, ComposeStack, Container, DockerFailed, docker
from benchmarks.live_load import Load, compare
from benchmarks.scripts import SAMPLES

pytestmark = [pytest.mark.images, pytest.mark.timeout(600)]

CALLERS = 4
AUDIO_S = 8.0
# Into the sessions, and long enough after.
BEFORE_S, AFTER_S = 3.0, 6.0
_ENDS = ("--filter=event=die", "--filter=label=com.docker.compose.service=lm", "--format={{json .}}")


@pytest.fixture(scope="module")
def trio(stack: ComposeStack) -> ComposeStack:
    """The stack with three LM workers, two of which the gateway finds by itself."""
    stack.up(lms=3)
    return stack


@pytest.fixture(scope="module")
def calm(trio: ComposeStack) -> Load:
    """What callers hear while nothing happens."""
    load = Load.of(CALLERS, AUDIO_S, seed=1)
    asyncio.run(load.run(trio.address))
    assert not [heard.error for heard in load.heard() if heard.error]
    return load


def words_of(*arguments: str) -> list[str]:
    command = [sys.executable, "-m", "services.cli.__main__", "transcribe", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def references() -> Iterator[tuple[str, list[str]]]:
    for recording in json.loads((SAMPLES / "references.json").read_text()):
        yield recording["file"], [word["word"] for word in recording["words"]]


def test_a_recording_comes_back_as_its_words(stack: ComposeStack) -> None:
    said = dict(references())["telephone.wav"]
    assert words_of(str(SAMPLES / "telephone.wav"), "--server", stack.address) == said


def test_nothing_can_be_written_but_to_tmp(stack: ComposeStack) -> None:
    for service in SERVICES:
        (container, *_) = stack.containers(service)
        docker("exec", container.id, "touch", "/tmp/x")
        for place in ("/app", "/opt/venv", "/"):
            with pytest.raises(DockerFailed, match=r"Read-only|denied"):
                docker("exec", container.id, "touch", f"{place}/x")


def test_workers_cannot_be_reached_from_outside(stack: ComposeStack) -> None:
    for service in ("codec", "lm"):
        (container, *_) = stack.containers(service)
        assert not container.details["HostConfig"]["PortBindings"]
        assert list(container.details["NetworkSettings"]["Networks"]) == ["dsm-stt-test_workers"]


def test_new_workers_are_found_and_used(trio: ComposeStack, calm: Load) -> None:
    used = {line["lm"] for line in trio.log_lines("gateway", "call") if line.get("lm")}
    assert len(calm.heard()) == CALLERS
    assert len(used) == 3
    assert [container.restarts for container in trio.containers("gateway")] == [0]


def test_a_killed_lm_container_loses_no_word_and_comes_back(trio: ComposeStack, calm: Load) -> None:
    victim = trio.containers("lm")[0]
    disturbed = _disturbed(trio, calm, lambda: os.kill(victim.pid, signal.SIGKILL))
    assert _without_difference(calm, disturbed)
    trio.up(lms=3)
    after = {container.name: container for container in trio.containers("lm")}[victim.name]
    assert (after.id, after.running, after.restarts) == (victim.id, True, 1)


def test_scaling_down_hands_sessions_over_and_ends_workers_well(trio: ComposeStack, calm: Load) -> None:
    before = {container.id for container in trio.containers("lm")}
    moved_before = _moved(trio)
    began_s = time.time()
    disturbed = _disturbed(trio, calm, lambda: trio.up(lms=1))
    assert _without_difference(calm, disturbed)
    assert _moved(trio) > moved_before
    (left,) = trio.containers("lm")
    # They are gone, and Docker tells of their ends: {"id": …, "Actor": {"Attributes": {"exitCode": …}}}.
    ends = docker("events", "--since", f"{began_s:.3f}", "--until", f"{time.time():.3f}", *_ENDS)
    codes = {end["id"]: end["Actor"]["Attributes"]["exitCode"] for end in map(json.loads, ends.splitlines())}
    assert codes == dict.fromkeys(before - {left.id}, "0")


def test_everything_ends_with_0_when_told_to(trio: ComposeStack) -> None:
    # The last test: nothing runs after it.
    trio.stop()
    ended = [container for service in SERVICES for container in trio.containers(service)]
    assert {container.name: (container.running, container.exit_code) for container in ended} == {
        container.name: (False, 0) for container in ended
    }
    assert not [container.name for container in ended if _killed(container)]


def _disturbed(stack: ComposeStack, calm: Load, happens: Callable[[], object]) -> Load:
    """Let the callers say the same again, and again, while something happens."""

    async def meanwhile() -> None:
        await asyncio.sleep(BEFORE_S)
        await asyncio.to_thread(happens)
        await asyncio.sleep(AFTER_S)

    load = Load(calm.scripts)
    asyncio.run(load.run(stack.address, meanwhile))
    return load


def _without_difference(calm: Load, disturbed: Load) -> bool:
    found = compare(calm, disturbed)
    assert found["sessions_compared"] >= CALLERS
    assert found["differences"] == []
    return True


def _moved(stack: ComposeStack) -> int:
    """Count the sessions that went on at another LM worker."""
    return sum(line["kind"] == "LM" for line in stack.log_lines("gateway", "session moved"))


def _killed(container: Container) -> bool:
    return bool(container.details["State"]["OOMKilled"])
