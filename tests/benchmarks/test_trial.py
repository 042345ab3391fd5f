"""What counts in a trial, and what it counts as."""

from __future__ import annotations

from benchmarks.callers import Heard, HeardWord
from benchmarks.scripts import Sound, talk
from benchmarks.trial import Trial, Window, run
from tests.stack import FakeModel, FakeStack


def test_a_position_counts_by_when_it_was_spoken_and_not_by_when_it_was_answered() -> None:
    window = Window(from_s=105.0, until_s=125.0)
    heard = Heard(began_s=100.0)
    late = HeardWord("yes", 20.0, 20.5, 0, came_s=60.0, heard_s=24.0)
    assert window.has(heard, late.heard_s)
    assert not window.has(heard, 4.9)
    assert not window.has(heard, 25.0)


def test_a_device_cuts_its_audio_as_it_says() -> None:
    script = talk(1, 1.0, Sound(rate_hz=48_000, message_ms=20))
    config, *messages = script.requests
    assert config.config.audio_format.sample_rate_hertz == 48_000
    assert {len(message.audio) for message in messages} == {48_000 // 50 * 2}
    assert len(messages) == 50
    assert script.message_s == 0.02


async def test_a_trial_through_real_ports_tells_lag_and_use_and_no_errors() -> None:
    async with FakeStack(slots=2, heads=4, model=FakeModel(pause_horizons_ms=(500, 1000, 2000, 3000))) as stack:
        found = await run(Trial(2, 0.5, Sound(vad=True), opening_s=0.1, warm_s=0.2, tail_s=0.1), stack.address, {})
        await stack.all_slots_free()
    assert found["errors"] == []
    assert found["sessions"] == 2
    assert found["lag_ms"]["p50"] >= 0
    assert set(found["cpu_ms_per_stream_s"]) == {"callers"}


async def test_sessions_that_are_refused_are_errors() -> None:
    async with FakeStack(slots=1, admission_wait_s=0.1) as stack:
        found = await run(Trial(2, 0.5, Sound(), opening_s=0.1, warm_s=0.2, tail_s=0.1), stack.address, {})
    assert any("NO_CAPACITY" in error for error in found["errors"])
