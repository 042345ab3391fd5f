"""The local stack, with processes that only pretend to be services."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.cli.child import ChildDied
from services.cli.local_stack import GRPC_EXPERIMENTS, LocalStack, StackStartTimeout
from tests.fakes.stack import FAKES


def make(tmp_path: Path, **options: object) -> tuple[LocalStack, Path]:
    journal = tmp_path / "journal"
    journal.touch()
    environment = {"FAKE_JOURNAL": str(journal), **options.pop("environment", {})}  # type: ignore[dict-item]
    return LocalStack(modules=FAKES, environment=environment, **options), journal  # type: ignore[arg-type]


def pids_of(journal: Path) -> list[int]:
    return [int(line.split()[2]) for line in journal.read_text().splitlines() if " listening " in line]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # Ended, but nobody has asked how.
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def wait_until_gone(pids: list[int], timeout_s: float = 10.0) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while any(is_running(pid) for pid in pids):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.05)
    return True


def test_the_gateway_is_told_where_every_worker_listens(tmp_path: Path) -> None:
    stack, journal = make(tmp_path, lms=2)
    with stack:
        codec, lm, second_lm = (stack.address_of(name) for name in ("codec", "lm", "lm-2"))
        gateway = next(line for line in journal.read_text().splitlines() if line.startswith("GATEWAY"))
        assert gateway.split()[3:] == [stack.address.split(":")[1], codec, f"{lm},{second_lm}"]


def test_the_gateway_stops_before_the_workers_and_nothing_is_left(tmp_path: Path) -> None:
    stack, journal = make(tmp_path)
    with stack:
        pids = pids_of(journal)
        assert len(pids) == 3
    stopped = [line.split()[0] for line in journal.read_text().splitlines() if line.endswith("stopping")]
    assert stopped[0] == "GATEWAY"
    assert set(stopped[1:]) == {"CODEC", "LM"}
    assert not any(is_running(pid) for pid in pids)


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    stack, journal = make(tmp_path, stop_timeout_s=0.3, environment={"FAKE_LM": "stay"})
    with stack:
        pids = pids_of(journal)
    assert not any(is_running(pid) for pid in pids)


def test_a_worker_that_cannot_start_takes_the_rest_down(tmp_path: Path) -> None:
    stack, journal = make(tmp_path, environment={"FAKE_LM": "refuse"})
    with pytest.raises(ChildDied) as caught:
        stack.start()
    assert (caught.value.name, caught.value.exit_code) == ("lm", 1)
    assert caught.value.last_lines == ("error: no such model",)
    assert wait_until_gone(pids_of(journal))


def test_services_that_never_get_ready_are_not_waited_for_forever(tmp_path: Path) -> None:
    stack, journal = make(tmp_path, start_timeout_s=0.0)
    with pytest.raises(StackStartTimeout, match="not ready after 0 s: codec, lm"):
        stack.start()
    assert wait_until_gone(pids_of(journal))


def test_logs_are_kept_where_the_caller_wants_them(tmp_path: Path) -> None:
    stack, _journal = make(tmp_path, log_folder=tmp_path / "logs")
    with stack:
        pass
    assert (tmp_path / "logs" / "gateway.log").read_text() == "GATEWAY serves\n"


@contextmanager
def serving(tmp_path: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.stack"],
        env={**os.environ, "FAKE_JOURNAL": str(tmp_path / "journal"), "PYTHONUNBUFFERED": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # As from a terminal, whatever runs the tests: a shell's background jobs ignore it, and so do their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until_serving(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert any(line.startswith("Serving on 127.0.0.1:") for line in process.stdout)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_serve_stops_everything_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path) as process:
        wait_until_serving(process)
        pids = pids_of(tmp_path / "journal")
        process.send_signal(number)
        _out, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Stopping" in errors
    assert len(pids) == 3
    assert wait_until_gone(pids)


def test_serve_ends_with_the_exit_code_and_last_words_of_a_process_that_dies(tmp_path: Path) -> None:
    with serving(tmp_path, FAKE_GATEWAY="exit:7") as process:
        _out, errors = process.communicate(timeout=20)
    assert process.returncode == 7
    assert "gateway ended with exit code 7" in errors
    assert "GATEWAY is out of memory" in errors
    assert wait_until_gone(pids_of(tmp_path / "journal"))


def test_serve_prints_logs_with_the_name_of_the_process(tmp_path: Path) -> None:
    with serving(tmp_path) as process:
        wait_until_serving(process)
        process.send_signal(signal.SIGINT)
        _out, errors = process.communicate(timeout=20)
    assert "codec    │ CODEC serves" in errors
    assert "gateway  │ GATEWAY serves" in errors


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
def test_nothing_outlives_a_stack_that_was_killed(tmp_path: Path) -> None:
    with serving(tmp_path) as process:
        wait_until_serving(process)
        process.kill()
        process.wait()
        assert wait_until_gone(pids_of(tmp_path / "journal"))


def test_the_image_has_the_same_grpc_settings_as_the_local_gateway() -> None:
    dockerfile = Path(__file__).parents[2] / "deploy/docker/Dockerfile"
    assert f"GRPC_EXPERIMENTS={GRPC_EXPERIMENTS}\n" in dockerfile.read_text()
