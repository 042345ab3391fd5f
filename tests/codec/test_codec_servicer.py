"""CodecService through a real port, over a codec whose codes can be worked out by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np
import pytest

from dsm_stt.codec.v1 import codec_pb2
from dsm_stt.worker.v1 import worker_pb2
from services.common.framing import FRAME_SAMPLES
from tests.fakes.engines import FakeCodecEngine, fake_codes, frame_saying
from tests.speech import reason
from tests.stack import RunningWorker, codec_worker
from tests.worker_calls import CodecCall, audio, codec_call, serving, until

Request = codec_pb2.EncodeRequest
Open = codec_pb2.SessionOpen
Batch = codec_pb2.AudioBatch

F32 = codec_pb2.SAMPLE_FORMAT_F32
S16 = codec_pb2.SAMPLE_FORMAT_S16
PROTOCOL = worker_pb2.FAILURE_REASON_PROTOCOL
FRAME_BYTES = FRAME_SAMPLES * 4


@asynccontextmanager
async def codec(slots: int = 4) -> AsyncIterator[tuple[RunningWorker, CodecCall]]:
    """Run a codec worker with a fake engine, and call it."""
    async with serving(codec_worker(FakeCodecEngine(slots))) as running, codec_call(running) as call:
        yield running, call


def answer(value: int, frame: int) -> list[int]:
    return fake_codes(value, frame, 4, 64).tolist()


def samples(*values: int) -> bytes:
    return b"".join(frame_saying(value).astype("<f4").tobytes() for value in values)


async def test_it_says_which_codec_it_is() -> None:
    async with codec() as (_, call):
        info = (await call.read()).info
    assert (info.codec_id, info.codebooks, info.cardinality) == ("fake-codec", 4, 64)
    assert (info.frame_samples, info.sample_rate_hertz) == (1920, 24_000)
    assert info.reach_frames == 1_000_000


async def test_many_sessions_in_one_message_each_get_their_own_codes() -> None:
    async with codec() as (running, call):
        await call.open(1, 2, 3)
        await call.send_audio({2: [20, 21, 22], 1: [10], 3: [30, 31]})
        await call.until(lambda: len(call.codes[2]) == 3 and call.codes[1] and len(call.codes[3]) == 2)
        assert call.codes[1] == [(0, answer(10, 0))]
        assert call.codes[2] == [(frame, answer(20 + frame, frame)) for frame in range(3)]
        assert call.codes[3] == [(frame, answer(30 + frame, frame)) for frame in range(2)]
        # As many steps as the longest has frames, each session at most once a step.
        assert [len(slots) for slots in running.engine.steps] == [3, 2, 1]


async def test_samples_of_both_formats_are_the_same_audio() -> None:
    class Listening(FakeCodecEngine):
        heard: list[np.ndarray]

        def step(self, slots: Any, pcm: Any, /) -> Any:
            self.heard.extend(pcm.copy())
            return super().step(slots, pcm)

    engine = Listening()
    engine.heard = []
    sixteen = np.random.default_rng(1).integers(-32768, 32768, FRAME_SAMPLES).astype("<i2")
    sixteen[:3] = (-32768, 0, 32767)
    floats = (sixteen / 32768).astype("<f4")
    async with serving(codec_worker(engine)) as running, codec_call(running) as call:
        await call.open(1)
        for kind, samples in ((S16, sixteen), (F32, floats)):
            batch = Batch(sample_format=kind, sessions=[1], frames=[1], samples=samples.tobytes())
            await call.send(Request(audio=batch))
        await call.until(lambda: len(call.codes[1]) == 2)
    first, second = engine.heard
    assert first.dtype == second.dtype == np.float32
    assert np.array_equal(first, second)
    assert np.array_equal(second, floats)


MISFITS: Mapping[str, Batch] = {
    "a frame count without a session": Batch(sample_format=F32, sessions=[1], frames=[1, 1], samples=bytes(7680)),
    "a session without a frame count": Batch(sample_format=F32, sessions=[1, 2], frames=[1], samples=bytes(7680)),
    "too few samples": Batch(sample_format=F32, sessions=[1], frames=[2], samples=bytes(FRAME_BYTES)),
    "too many samples": Batch(sample_format=F32, sessions=[1], frames=[1], samples=bytes(2 * FRAME_BYTES)),
    "half a frame": Batch(sample_format=F32, sessions=[1], frames=[1], samples=bytes(FRAME_BYTES // 2)),
    "half a sample": Batch(sample_format=F32, sessions=[1], frames=[1], samples=bytes(FRAME_BYTES - 2)),
    "half a short sample": Batch(sample_format=S16, sessions=[1], frames=[1], samples=bytes(FRAME_BYTES // 2 - 1)),
    "samples of the other format": Batch(sample_format=S16, sessions=[1], frames=[1], samples=bytes(FRAME_BYTES)),
    "samples for nobody": Batch(sample_format=F32, samples=bytes(FRAME_BYTES)),
    "no frame": Batch(sample_format=F32, sessions=[1, 2], frames=[0, 1], samples=bytes(FRAME_BYTES)),
    "frames without end": Batch(sample_format=F32, sessions=[1, 2], frames=[2**32 - 1, 2**32 - 1]),
    "no format": Batch(sessions=[1], frames=[1], samples=bytes(FRAME_BYTES)),
    "a format from the future": Batch(
        sample_format=9,  # type: ignore[arg-type]
        sessions=[1],
        frames=[1],
        samples=bytes(FRAME_BYTES),
    ),
}


@pytest.mark.parametrize("batch", MISFITS.values(), ids=MISFITS.keys())
async def test_arrays_that_do_not_fit_each_other_end_the_stream_and_free_its_slots(batch: Batch) -> None:
    async with codec() as (running, call):
        await call.open(1, 2)
        # What came before it in the message has happened, and is undone.
        await call.send(Request(opens=[Open(session=3)], audio=batch))
        error = await call.error()
        assert (error.code(), reason(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "PROTOCOL_VIOLATION")
        assert "audio" in (error.details() or "") or "sample_format" in (error.details() or "")
        await until(lambda: running.slots_free == 4)
        assert not running.engine.steps
        async with codec_call(running) as again:
            await again.open(1)
            assert again.opened == [1]


@pytest.mark.parametrize("batch", [Batch(sample_format=F32), Batch(sample_format=S16)])
async def test_a_batch_of_nothing_is_nothing(batch: Batch) -> None:
    # It used to end the stream as an internal error.
    async with codec() as (_, call):
        await call.open(1)
        await call.send(Request(audio=batch))
        await call.send(Request())
        await call.send_audio({1: [1]})
        await call.until(lambda: call.codes[1])


async def test_a_session_twice_in_a_batch_has_its_frames_in_order() -> None:
    async with codec() as (_, call):
        await call.open(1, 2)
        batch = Batch(sample_format=F32, sessions=[1, 2, 1], frames=[2, 1, 1], samples=samples(1, 2, 9, 3))
        await call.send(Request(audio=batch))
        await call.until(lambda: len(call.codes[1]) == 3)
        assert call.codes[1] == [(frame, answer(1 + frame, frame)) for frame in range(3)]


async def test_frames_of_a_session_that_is_not_open_are_dropped() -> None:
    async with codec() as (running, call):
        await call.open(1)
        await call.send_audio({5: [5], 1: [1]})
        await call.until(lambda: call.codes[1])
        assert not call.codes[5]
        assert not call.failures
        assert running.slots_free == 3


async def test_a_warm_up_reaches_the_engine_and_is_not_answered() -> None:
    async with codec() as (running, call):
        await call.send(Request(opens=[Open(session=1, warmup_pcm=samples(7, 8, 9)), Open(session=2)]))
        await call.until(lambda: len(call.opened) == 2)
        await call.send_audio({1: [1], 2: [1]})
        await call.until(lambda: call.codes[1] and call.codes[2])
        # Frame numbers count from the opening, the codec's state from the warm-up.
        assert call.codes[1] == [(0, answer(1, 3))]
        assert call.codes[2] == [(0, answer(1, 0))]
        (_, heard), (_, nothing) = running.engine.opened
        assert np.array_equal(heard, np.stack([frame_saying(value) for value in (7, 8, 9)]))
        assert nothing is None


async def test_the_longest_warm_up_that_the_protocol_allows_fits_a_message() -> None:
    # 60 s are 5.8 MB; a worker used to take 4 MiB, and ended the stream of all sessions over one byte more.
    async with codec() as (running, call):
        await call.send(Request(opens=[Open(session=1, warmup_pcm=bytes(750 * FRAME_BYTES))]))
        await call.until(lambda: call.opened)
        await until(lambda: running.engine.opened)
        assert len(running.engine.opened[0][1]) == 750


@pytest.mark.parametrize("size", [4, FRAME_BYTES - 4, FRAME_BYTES + 2, 751 * FRAME_BYTES])
async def test_a_warm_up_that_is_not_whole_frames_or_too_long_is_refused(size: int) -> None:
    async with codec() as (running, call):
        await call.send(Request(opens=[Open(session=1, warmup_pcm=bytes(size)), Open(session=2)]))
        why, message = await call.failure(1)
        assert (why, message) == (
            PROTOCOL,
            f"warmup_pcm: wanted whole frames of 7680 bytes, at most 750, got {size} bytes",
        )
        await call.until(lambda: call.opened)
        assert call.opened == [2]
        assert running.slots_free == 3


async def test_a_refused_warm_up_for_a_number_in_use_leaves_no_slot_taken() -> None:
    # The failure tells the gateway that the session is over, so its slot must be free.
    async with codec() as (running, call):
        await call.open(1)
        await call.send(Request(opens=[Open(session=1, warmup_pcm=bytes(4))]))
        assert (await call.failure(1))[0] == PROTOCOL
        assert running.slots_free == 4


async def test_a_reset_starts_again_in_the_same_slot() -> None:
    async with codec(slots=1) as (running, call):
        await call.send(Request(opens=[Open(session=1, warmup_pcm=samples(5))]))
        await call.send_audio({1: [1, 2]})
        await call.until(lambda: len(call.codes[1]) == 2)
        await call.send(Request(resets=[1], audio=audio({1: [3, 4]})))
        await call.until(lambda: len(call.codes[1]) == 4)
        assert call.opened == [1, 1]
        assert call.codes[1] == [(0, answer(1, 1)), (1, answer(2, 2)), (0, answer(3, 0)), (1, answer(4, 1))]
        assert running.slots_free == 0
        await call.close(1)
        await call.until(lambda: call.closed)
        assert running.slots_free == 1


async def test_a_reset_with_frames_under_way_drops_them_and_their_credits() -> None:
    # The answer to the frame that was being encoded used to come as the first of the new life, and the credits
    # were one off from then on.
    async with codec() as (running, call):
        await call.open(1)
        running.engine.hang()
        await call.send_audio({1: list(range(16))})
        await asyncio.to_thread(running.engine.hanging.wait)
        await call.send(Request(resets=[1], audio=audio({1: list(range(20, 36))})))
        await call.until(lambda: call.opened == [1, 1])
        running.engine.resume()
        await call.until(lambda: len(call.codes[1]) == 16)
        assert call.codes[1] == [(frame, answer(20 + frame, frame)) for frame in range(16)]
        await call.send_audio({1: list(range(16))})
        await call.until(lambda: len(call.codes[1]) == 32)
        assert not call.failures


async def test_a_reset_of_a_session_that_is_over_is_nothing() -> None:
    async with codec() as (_, call):
        await call.send(Request(resets=[5], closes=[6]))
        await call.until(lambda: call.closed)
        assert call.closed == [6]
        assert not call.opened


async def test_answers_to_a_session_closed_in_the_middle_of_a_step_are_dropped() -> None:
    async with codec(slots=1) as (running, call):
        await call.open(1)
        running.engine.hang()
        await call.send_audio({1: [1, 2]})
        await asyncio.to_thread(running.engine.hanging.wait)
        await call.send(Request(closes=[1]))
        await call.until(lambda: call.closed)
        await call.send(Request(opens=[Open(session=2)], audio=audio({2: [5]})))
        await call.until(lambda: 2 in call.opened)
        running.engine.resume()
        await call.until(lambda: call.codes[2])
        assert call.codes[2] == [(0, answer(5, 0))]
        assert not call.codes[1]
        assert [slots.tolist() for slots in running.engine.steps] == [[0], [0]]


async def test_a_session_opened_fed_and_closed_in_one_message_leaves_nothing() -> None:
    async with codec() as (running, call):
        await call.send(Request(opens=[Open(session=1)], audio=audio({1: [1, 2]}), closes=[1]))
        await call.until(lambda: call.closed)
        assert (call.opened, call.closed) == ([1], [1])
        await until(lambda: running.engine.closed == [0])
        assert not running.engine.steps
        assert running.slots_free == 4
