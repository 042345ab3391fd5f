"""Sound without words raises a warning, once in thirty seconds of sound."""

from __future__ import annotations

import numpy as np

from dsm_stt.speech.v1 import speech_pb2 as pb
from services.common.framing import FRAME_SAMPLES
from services.gateway.stall_watch import StallWatch
from tests.fakes.delayed import YES
from tests.speech import chunks, config, saying, transcribe
from tests.stack import FakeStack

LOUD = np.full(FRAME_SAMPLES, 0.01, np.float32)  # -40 dBFS
QUIET = np.full(FRAME_SAMPLES, 0.005, np.float32)  # -46 dBFS


def feed(watch: StallWatch, frame: np.ndarray, seconds: float) -> list[float]:
    warned = []
    for _ in range(round(seconds / 0.08)):
        watch.note_frame(frame)
        stalled_s = watch.stalled_s()
        if stalled_s is not None:
            warned.append(stalled_s)
    return warned


def test_half_a_minute_of_sound_without_a_word_is_a_stall_and_the_next_one_again() -> None:
    watch = StallWatch()
    assert feed(watch, LOUD, 29.9) == []
    assert feed(watch, LOUD, 0.2) == [30.0]
    assert feed(watch, LOUD, 29.9) == [30.0]


def test_quiet_is_no_stall() -> None:
    assert feed(StallWatch(), QUIET, 300) == []


def test_a_word_starts_the_count_again() -> None:
    watch = StallWatch()
    feed(watch, LOUD, 20)
    watch.note_word()
    assert feed(watch, LOUD, 20) == []


async def test_a_caller_is_told_through_the_service() -> None:
    # A pause to the fake heads is loud to everybody else.
    silent_model = saying(400, pauses=range(400))
    async with FakeStack() as stack:
        responses = await transcribe(stack.stub, [config(), *chunks(silent_model)])
        warnings = [response.warning.code for response in responses if response.HasField("warning")]
        assert warnings == [pb.WARNING_CODE_STALLED]
        talking = saying(400, {start: [YES] for start in range(0, 390, 100)}, pauses=range(0, 400, 2))
        responses = await transcribe(stack.stub, [config(), *chunks(talking)])
        assert not any(response.HasField("warning") for response in responses)
