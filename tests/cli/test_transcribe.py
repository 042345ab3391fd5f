"""`dsm-stt transcribe` against a fake service on a real port."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from dsm_stt.speech.v1 import speech_pb2
from services.common import errors
from tests.cli.conftest import Run, lines_of, write_wav
from tests.fakes.speech import FakeSpeech


def test_the_text_goes_to_stdout_and_the_summary_to_stderr(run: Run, recording: Path) -> None:
    with FakeSpeech() as service:
        result = run("transcribe", recording, "--server", service.address)

    assert result.exit_code == 0, result.output
    assert result.stdout == "good morning to you\n"
    assert "2.0 s of audio" in result.stderr
    assert "4 words · fake-en" in result.stderr


def test_audio_is_sent_whole_with_the_rate_of_the_file(run: Run, tmp_path: Path) -> None:
    with FakeSpeech() as service:
        for rate_hz, channels in ((8_000, 1), (44_100, 2)):
            path = write_wav(tmp_path / f"{rate_hz}.wav", 1.0, rate_hz, channels)
            service.audio_bytes = 0
            assert run("transcribe", path, "--server", service.address).exit_code == 0
            assert service.audio_bytes == rate_hz * 2
            audio_format = service.configs[-1].audio_format
            assert (audio_format.encoding, audio_format.sample_rate_hertz, audio_format.channels) == (
                speech_pb2.AUDIO_ENCODING_LINEAR16,
                rate_hz,
                1,
            )


def test_a_rate_beyond_the_api_is_resampled_before_it_is_sent(run: Run, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "hifi.wav", 1.0, 96_000)
    with FakeSpeech() as service:
        assert run("transcribe", path, "--server", service.address).exit_code == 0
    assert service.configs[0].audio_format.sample_rate_hertz == 48_000
    assert service.audio_bytes == pytest.approx(48_000 * 2, abs=200)


def test_the_key_in_the_environment_goes_with_the_call(run: Run, recording: Path) -> None:
    with FakeSpeech() as service:
        run("transcribe", recording, "--server", service.address, env={"DSM_API_KEY": "dsm_secret\n"})
        run("transcribe", recording, "--server", service.address)
    assert service.metadata[0]["x-api-key"] == "dsm_secret"
    assert "x-api-key" not in service.metadata[1]
    assert all(len(metadata["x-request-id"]) == 32 for metadata in service.metadata)


def test_several_files_are_transcribed_in_turn(run: Run, tmp_path: Path) -> None:
    paths = [write_wav(tmp_path / f"{index}.wav", 0.5 + index * 0.4) for index in range(3)]
    with FakeSpeech() as service:
        result = run("transcribe", *paths, "--server", service.address)
    assert result.stdout == "good\ngood morning\ngood morning to\n"


def test_words_are_lines_of_times_and_text_in_a_pipe(run: Run, recording: Path) -> None:
    with FakeSpeech() as service:
        result = run("transcribe", recording, "--server", service.address, "--words")
    assert result.stdout.splitlines()[1:] == [
        "0.00\t0.32\tgood",
        "0.40\t0.72\tmorning",
        "0.80\t1.12\tto",
        "1.20\t1.52\tyou",
    ]


def test_json_prints_a_line_an_event_and_nothing_else(run: Run, recording: Path) -> None:
    with FakeSpeech() as service:
        result = run("transcribe", recording, "--server", service.address, "--json", "--interim", "--vad")

    lines = lines_of(result)
    assert {line["source"] for line in lines} == {str(recording)}
    assert lines[0] == {
        "event": "session_started",
        "source": str(recording),
        "session_id": "s-1",
        "model": "fake-en",
        "delay_s": 0.5,
        "pause_horizons_s": [0.5, 1.0, 2.0, 3.0],
    }
    events = [line["event"] for line in lines]
    assert events.count("interim") == events.count("word") == events.count("vad") == 4
    assert [
        (word["text"], word["start_s"], word["end_s"], word["turn"]) for word in lines if word["event"] == "word"
    ] == [
        ("good", 0.0, 0.32, 0),
        ("morning", 0.4, 0.72, 0),
        ("to", 0.8, 1.12, 1),
        ("you", 1.2, 1.52, 1),
    ]
    turn = next(line for line in lines if line["event"] == "turn")
    assert (turn["kind"], turn["turn"], turn["probability"]) == ("end", 0, 0.75)
    assert events[-2:] == ["session_ended", "summary"]
    assert (lines[-1]["words"], lines[-1]["audio_s"], lines[-1]["latency_median_s"]) == (4, 2.0, None)
    assert lines[-1]["text"] == "good morning\nto you"


def test_vad_splits_the_text_into_turns(run: Run, recording: Path) -> None:
    with FakeSpeech() as service:
        result = run("transcribe", recording, "--server", service.address, "--vad")
    assert result.stdout == "good morning\nto you\n"
    assert service.configs[0].results.vad_interval.nanos == 80_000_000


def test_vad_asks_a_model_without_pause_heads_for_turns_only(run: Run, recording: Path) -> None:
    with FakeSpeech(pause_heads=False) as service:
        result = run("transcribe", recording, "--server", service.address, "--vad")
    assert result.exit_code == 0
    assert "fake-en has no pause heads" in result.stderr
    assert service.configs[0].turns.enabled
    assert not service.configs[0].results.HasField("vad_interval")


def test_in_real_time_the_latency_beyond_the_delay_is_told(run: Run, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "short.wav", 0.5)
    with FakeSpeech() as service:
        result = run("transcribe", path, "--server", service.address, "--rtf", "1", "--json")
    summary = lines_of(result)[-1]
    # The word that began at 0 was sent once 0.4 s were heard; the model's delay of 0.5 s is taken off.
    assert summary["latency_median_s"] >= 0.4 - 0.5
    assert summary["wall_s"] >= 0.5


def test_an_untrained_model_is_told_once(run: Run, recording: Path) -> None:
    with FakeSpeech(trained=False) as service:
        result = run("transcribe", recording, recording, "--server", service.address)
    assert result.stderr.count("warning: fake-en is untrained: its words mean nothing") == 1


@pytest.mark.parametrize(
    ("error", "reason", "hint"),
    [
        (errors.UnknownModel("no worker serves 'x'"), "UNKNOWN_MODEL", "Leave out --model"),
        (errors.NoCapacity("no slot came free", retry_after_s=3.0), "NO_CAPACITY", "Try again in 3 s"),
        (errors.WorkerLost("the LM went away"), "WORKER_LOST", "none took over"),
        (errors.Draining("stopping"), "DRAINING", "another one will answer"),
    ],
)
def test_an_error_of_the_service_says_the_reason_and_the_next_step(
    run: Run, recording: Path, error: errors.DsmError, reason: str, hint: str
) -> None:
    with FakeSpeech(error=error, refuse=True) as service:
        result = run("transcribe", recording, "--server", service.address)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert f"error: {error} ({reason})" in result.stderr
    assert hint in result.stderr


def test_words_that_came_before_an_error_are_not_lost(run: Run, recording: Path) -> None:
    with FakeSpeech(error=errors.WorkerLost("the LM went away")) as service:
        text = run("transcribe", recording, "--server", service.address)
        lines = lines_of(run("transcribe", recording, "--server", service.address, "--json"))
    assert (text.exit_code, text.stdout) == (1, "good\n")
    assert [line["event"] for line in lines] == ["session_started", "word", "error"]
    assert lines[-1]["reason"] == "WORKER_LOST"


def test_a_stream_without_its_end_is_an_error(run: Run, recording: Path) -> None:
    with FakeSpeech(forget_the_end=True) as service:
        result = run("transcribe", recording, "--server", service.address)
    assert result.exit_code == 1
    assert "before the transcript was complete (INCOMPLETE)" in result.stderr


def test_nobody_at_the_address_is_an_error_of_the_service(run: Run, recording: Path) -> None:
    result = run("transcribe", recording, "--server", "127.0.0.1:1")
    assert result.exit_code == 1
    assert "the service cannot be reached" in result.stderr
    assert "dsm-stt serve" in result.stderr


def test_a_file_that_is_not_there_or_not_audio_is_wrong_usage(run: Run, tmp_path: Path, recording: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no audio")
    for path, message in (
        (tmp_path / "nothing.wav", "is not there"),
        (tmp_path, "is a folder"),
        (text, "is not audio that can be decoded"),
    ):
        result = run("transcribe", recording, path, "--server", "127.0.0.1:1")
        assert result.exit_code == 2, result.output
        assert message in result.stderr


@pytest.mark.parametrize("speed", ["0", "-1", "fast", "nan"])
def test_a_speed_that_is_none_is_wrong_usage(run: Run, recording: Path, speed: str) -> None:
    result = run("transcribe", recording, "--server", "127.0.0.1:1", "--rtf", speed)
    assert result.exit_code == 2
    assert "--rtf: wanted a number above 0 or max" in result.stderr


def test_a_terminal_sees_progress_words_and_a_table(recording: Path) -> None:
    with FakeSpeech() as service:
        terminal, end = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "services.cli", "transcribe", recording, "--server", service.address, "--rtf", "4"],
            env={**os.environ, "COLUMNS": "100", "LINES": "30", "TERM": "xterm"},
            stdin=end,
            stdout=end,
            stderr=end,
        )
        os.close(end)
        seen = b""
        # Linux tells the end of a pseudo-terminal as an error.
        while chunk := _read(terminal):
            seen += chunk
        os.close(terminal)
        assert process.wait(10) == 0
    text = seen.decode()
    assert "fake-en, delay 0.50 s" in text
    assert "0:02" in text
    assert "× real time" in text
    assert "good morning to you" in text
    assert "0.40" in text.split("good morning to you")[-1]


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""
