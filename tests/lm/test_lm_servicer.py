"""LmService through a real port, over a model that says what it is told: the answer to a frame is its first code.

codes 3, 10, 0   ->   boundary, "▁yes", padding   ->   the word "yes", from the frame of the 3 on
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np
import pytest

from dsm_stt.lm.v1 import lm_pb2
from dsm_stt.worker.v1 import worker_pb2
from services.lm.servicer import LmFacts
from tests.fakes.delayed import BOUNDARY, DAY, NO, PADDING, TO, YES, make_transcript
from tests.fakes.engines import FakeLmEngine
from tests.speech import reason
from tests.stack import RunningWorker, lm_worker
from tests.worker_calls import LmCall, code_rows, codes, lm_call, serving, until

Request = lm_pb2.GenerateRequest
Open = lm_pb2.SessionOpen
Batch = lm_pb2.CodesBatch
Replay = lm_pb2.Replay

PROTOCOL = worker_pb2.FAILURE_REASON_PROTOCOL
NO_SLOT = worker_pb2.FAILURE_REASON_NO_SLOT
# Of the words below: see make_transcript.
YES_FRAMES, TODAY_FRAMES = 3, 5
INITIAL = 9


class EchoLmEngine(FakeLmEngine):
    """A model that hears at once and whose transcript knows it: the answer to frame n speaks about frame n."""

    delay_frames = 2

    def __init__(self, slots: int = 4) -> None:
        super().__init__(slots, heads=2, initial_token=INITIAL, pause_tokens={PADDING})

    def facts(self) -> LmFacts:
        info = lm_pb2.LmInfo(
            model="echo",
            language_codes=["en", "fr"],
            codec_id="fake-codec",
            codebooks=self.codebooks,
            delay_frames=self.delay_frames,
            prefix_samples=1,
            suffix_samples=2,
            pause_horizons_ms=[500, 1000],
            trained=True,
        )
        return LmFacts(
            info,
            self.cardinality,
            self.text_cardinality,
            lambda interim, first_frame: make_transcript(interim, first_frame, self.delay_frames),
        )


@asynccontextmanager
async def lm(slots: int = 4) -> AsyncIterator[tuple[RunningWorker, LmCall]]:
    """Run an LM worker with a fake engine, and call it."""
    engine = EchoLmEngine(slots)
    async with serving(lm_worker(engine, engine.facts())) as running, lm_call(running) as call:
        yield running, call


def said(call: LmCall, number: int) -> list[int]:
    """The tokens of a session, after a look at their numbers."""
    frames = [frame for frame, _, _ in call.tokens[number]]
    assert frames == list(range(frames[0], frames[0] + len(frames))) if frames else True
    return [token for _, token, _ in call.tokens[number]]


async def test_it_says_which_model_it_is() -> None:
    async with lm() as (_, call):
        info = (await call.read()).info
    assert info == EchoLmEngine().facts().info


async def test_opened_carries_the_initial_token_once_the_model_has_said_it() -> None:
    async with lm() as (running, call):
        running.engine.hang()
        await call.send(Request(opens=[Open(session=1)]))
        await asyncio.to_thread(running.engine.hanging.wait)
        await call.read()
        assert not call.opened
        running.engine.resume()
        await call.until(lambda: call.opened)
        assert call.initial_tokens == {1: INITIAL}
        assert call.responses[-1].opened[0].credit_frames == 16
        # The step with the initial tokens hears nothing and answers no frame.
        assert not running.engine.heard[0]
        assert not call.tokens


async def test_tokens_words_and_pauses_of_a_session() -> None:
    async with lm() as (_, call):
        await call.open(1)
        await call.send_codes({1: [BOUNDARY, YES, PADDING, BOUNDARY, TO, DAY, BOUNDARY, NO]})
        await call.until(lambda: len(call.tokens[1]) == 8)
        assert said(call, 1) == [BOUNDARY, YES, PADDING, BOUNDARY, TO, DAY, BOUNDARY, NO]
        # Each word with the frame whose answer brought it; the last is still open.
        assert call.words[1] == [(2, "yes", 0, YES_FRAMES, True), (6, "today", 3, 6, True)]
        # Nothing is final beyond a word that is announced or open.
        assert [final for _, _, final in call.tokens[1]] == [0, 0, 3, 3, 3, 3, 6, 6]
        assert call.pauses[1] == [[float(token == PADDING)] * 2 for _, token, _ in call.tokens[1]]


async def test_sessions_in_one_batch_each_get_their_own_words() -> None:
    async with lm() as (running, call):
        await call.open(1, 2, 3)
        await call.send_codes({2: [BOUNDARY, NO, PADDING], 3: [BOUNDARY, YES, PADDING, PADDING], 1: [PADDING]})
        await call.until(lambda: [len(call.tokens[number]) for number in (1, 2, 3)] == [1, 3, 4])
        assert {number: [word for _, word, *_ in heard] for number, heard in call.words.items()} == {
            2: ["no"],
            3: ["yes"],
        }
        assert [sorted(slots.tolist()) for slots in running.engine.steps[-4:]] == [[0, 1, 2], [1, 2], [1, 2], [2]]


async def test_frames_may_be_sent_with_the_opening() -> None:
    async with lm() as (_, call):
        await call.send(Request(opens=[Open(session=1)], codes=codes({1: [BOUNDARY, YES, PADDING]})))
        await call.until(lambda: call.words[1])
        assert call.opened == [1]
        assert said(call, 1) == [BOUNDARY, YES, PADDING]


async def test_interim_words_for_those_who_ask() -> None:
    async with lm() as (_, call):
        await call.open(1, interim=True)
        await call.open(2)
        await call.send_codes({number: [BOUNDARY, TO, DAY, PADDING] for number in (1, 2)})
        await call.until(lambda: len(call.tokens[1]) == len(call.tokens[2]) == 4)
        assert [(frame, text, final) for frame, text, _, _, final in call.words[1]] == [
            (1, "to", False),
            (2, "today", False),
            (3, "today", True),
        ]
        assert [word[-1] for word in call.words[2]] == [True]


async def test_finish_completes_the_open_word_and_answers_after_it() -> None:
    async with lm() as (_, call):
        await call.open(1)
        await call.send_codes({1: [BOUNDARY, YES]})
        await call.until(lambda: len(call.tokens[1]) == 2)
        assert not call.words[1]
        await call.send(Request(finishes=[1]))
        await call.until(lambda: call.finished)
        assert call.words[1] == [(1, "yes", 0, YES_FRAMES, True)]
        assert call.responses[-1].words.sessions
        # The session goes on; the word does not come again.
        await call.send_codes({1: [PADDING, BOUNDARY, NO, PADDING]})
        await call.until(lambda: len(call.tokens[1]) == 6)
        assert [word for _, word, *_ in call.words[1]] == ["yes", "no"]
        await call.send(Request(finishes=[1]))
        await call.until(lambda: call.finished == [1, 1])
        assert len(call.words[1]) == 2


async def test_finish_before_any_frame() -> None:
    async with lm() as (_, call):
        await call.open(1)
        await call.send(Request(finishes=[1, 5]))
        await call.until(lambda: call.finished)
        assert call.finished == [1]
        assert not call.words


async def test_close_completes_the_open_word_and_answers_after_it() -> None:
    async with lm() as (running, call):
        await call.open(1)
        await call.send_codes({1: [BOUNDARY, TO, DAY]})
        await call.until(lambda: len(call.tokens[1]) == 3)
        await call.send(Request(closes=[1]))
        await call.until(lambda: call.closed)
        assert call.words[1] == [(2, "today", 0, TODAY_FRAMES, True)]
        assert list(call.responses[-1].words.texts) == ["today"]
        assert running.slots_free == 4


async def test_answers_to_a_session_closed_in_the_middle_of_a_step_are_dropped() -> None:
    async with lm(slots=1) as (running, call):
        await call.open(1)
        running.engine.hang()
        await call.send_codes({1: [BOUNDARY, YES, PADDING]})
        await asyncio.to_thread(running.engine.hanging.wait)
        await call.close(1)
        await call.until(lambda: call.closed)
        # The slot's next holder.
        await call.send(Request(opens=[Open(session=2)], codes=codes({2: [BOUNDARY, NO, PADDING]})))
        running.engine.resume()
        await call.until(lambda: call.words[2])
        assert not call.tokens[1]
        assert not call.words[1]
        assert call.initial_tokens[2] == INITIAL
        assert call.words[2] == [(2, "no", 0, 2, True)]
        assert np.array(running.engine.heard[0])[:, 0].tolist() == [BOUNDARY, NO, PADDING]


async def test_no_slot_and_more_frames_than_credits_cost_nobody_else_anything() -> None:
    async with lm(slots=2) as (running, call):
        await call.open(1, 2, 3)
        assert await call.failure(3) == (NO_SLOT, "all 2 slots are taken")
        running.engine.hang()
        await call.send_codes({1: [BOUNDARY, *[YES] * 15], 2: [BOUNDARY, YES, PADDING]})
        await call.send_codes({1: [PADDING]})
        assert await call.failure(1) == (PROTOCOL, "17 frames on their way, at most 16 are allowed")
        running.engine.resume()
        await call.until(lambda: call.words[2])
        assert not call.words[1]
        assert running.slots_free == 1


async def test_an_engine_that_fails_at_the_initial_step_ends_the_process() -> None:
    async with lm() as (running, call):
        running.engine.fail_at_step = 0
        await call.send(Request(opens=[Open(session=1)]))
        assert reason(await call.error()) == "ENGINE_FAILED"
        assert call.failures[1].reason == worker_pb2.FAILURE_REASON_ENGINE
        assert await running.task == 1


# Arrays


MISFITS: Mapping[str, Batch] = {
    "a frame count without a session": Batch(sessions=[1], frames=[1, 1], codes=code_rows([1, 1])),
    "a session without a frame count": Batch(sessions=[1, 2], frames=[1], codes=code_rows([1])),
    "too few codes": Batch(sessions=[1], frames=[2], codes=code_rows([1])),
    "too many codes": Batch(sessions=[1], frames=[1], codes=code_rows([1, 1])),
    "half a frame": Batch(sessions=[1], frames=[1], codes=code_rows([1])[:4]),
    "half a code": Batch(sessions=[1], frames=[1], codes=code_rows([1])[:-1]),
    "codes for nobody": Batch(codes=code_rows([1])),
    "no frame": Batch(sessions=[1, 2], frames=[0, 1], codes=code_rows([1])),
    "frames without end": Batch(sessions=[1, 2], frames=[2**32 - 1, 2**32 - 1]),
    "a code beyond the codebook": Batch(sessions=[1], frames=[1], codes=code_rows([64])),
    "a code far beyond it, in the second session": Batch(sessions=[1, 2], frames=[1, 1], codes=code_rows([1, 65_535])),
}


@pytest.mark.parametrize("batch", MISFITS.values(), ids=MISFITS.keys())
async def test_codes_that_do_not_fit_end_the_stream_before_the_model_sees_any(batch: Batch) -> None:
    async with lm() as (running, call):
        await call.open(1, 2)
        steps = len(running.engine.steps)
        await call.send(Request(codes=batch))
        error = await call.error()
        assert (error.code(), reason(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "PROTOCOL_VIOLATION")
        assert "codes" in (error.details() or "")
        await until(lambda: running.slots_free == 4)
        assert len(running.engine.steps) == steps
        async with lm_call(running) as again:
            await again.open(1)
            assert again.opened == [1]


async def test_a_batch_of_nothing_is_nothing() -> None:
    # It used to end the stream as an internal error.
    async with lm() as (_, call):
        await call.open(1)
        await call.send(Request(codes=Batch()))
        await call.send_codes({1: [PADDING]})
        await call.until(lambda: call.tokens[1])


# Replay


def replay(values: list[int], **fields: Any) -> Replay:
    """Make the history of a session that heard these values."""
    tokens = [INITIAL, *values]
    return Replay(**{"frames": len(values), "codes": code_rows(values), "text_tokens": tokens, **fields})


async def test_a_replayed_session_goes_on_where_it_was() -> None:
    async with lm() as (running, call):
        await call.open(1, replay=replay([BOUNDARY, YES, PADDING, BOUNDARY, TO]))
        assert call.initial_tokens == {1: INITIAL}
        await call.send_codes({1: [DAY, PADDING]})
        await call.until(lambda: len(call.tokens[1]) == 2)
        # No word of the history but the one that was still open.
        assert call.words[1] == [(6, "today", 3, 3 + TODAY_FRAMES, True)]
        assert [(frame, token) for frame, token, _ in call.tokens[1]] == [(5, DAY), (6, PADDING)]
        ((_, history),) = running.engine.opened
        assert np.array_equal(history.codes, np.frombuffer(code_rows([3, 10, 0, 3, 12]), "<u2").reshape(5, 4))
        assert history.text_tokens.tolist() == [INITIAL, BOUNDARY, YES, PADDING, BOUNDARY, TO]
        assert history.text_tokens.dtype == np.int32
        # No step with initial tokens: they are in the history.
        assert len(running.engine.steps) == 2


async def test_a_replay_of_a_session_that_heard_nothing_yet() -> None:
    async with lm() as (_, call):
        await call.open(1, replay=Replay(text_tokens=[INITIAL]))
        await call.send_codes({1: [BOUNDARY, YES, PADDING]})
        await call.until(lambda: call.words[1])
        assert call.words[1] == [(2, "yes", 0, YES_FRAMES, True)]


async def test_a_word_completed_by_a_finish_in_the_history_is_not_sent_again() -> None:
    async with lm() as (_, call):
        history = [BOUNDARY, YES, BOUNDARY, TO]
        await call.open(1, replay=replay(history, finished_after_frames=[0, 2, 4, 4]))
        await call.open(2, replay=replay(history))
        await call.send_codes({number: [DAY, PADDING] for number in (1, 2)})
        await call.until(lambda: len(call.tokens[1]) == len(call.tokens[2]) == 2)
        # "▁to" was said and done; what follows is a word of its own, from where it was heard.
        assert [(text, start) for _, text, start, *_ in call.words[1]] == [("day", 4)]
        assert [(text, start) for _, text, start, *_ in call.words[2]] == [("today", 2)]


async def test_a_history_whose_beginning_was_let_go_keeps_its_numbers() -> None:
    async with lm() as (_, call):
        await call.open(1, replay=replay([BOUNDARY, YES], first_frame=45_000))
        await call.send_codes({1: [PADDING, BOUNDARY, NO, PADDING]})
        await call.until(lambda: len(call.tokens[1]) == 4)
        assert call.tokens[1][0] == (45_002, PADDING, 45_003)
        assert call.words[1] == [
            (45_002, "yes", 45_000, 45_000 + YES_FRAMES, True),
            (45_005, "no", 45_003, 45_005, True),
        ]


async def test_the_next_session_does_not_inherit_the_first_frame_of_a_replay() -> None:
    async with lm() as (_, call):
        await call.open(1, replay=replay([PADDING], first_frame=45_000), interim=True)
        await call.open(2)
        await call.send(Request(resets=[1], codes=codes({2: [BOUNDARY, YES, PADDING]})))
        await call.until(lambda: call.opened == [1, 2, 1])
        await call.send_codes({1: [BOUNDARY, YES, PADDING]})
        await call.until(lambda: len(call.tokens[1]) == 3)
        assert call.words[2] == [(2, "yes", 0, YES_FRAMES, True)]
        assert call.words[1][-1] == (2, "yes", 0, YES_FRAMES, True)
        assert [word[-1] for word in call.words[1]] == [False, True]


BAD_REPLAYS: Mapping[str, Replay] = {
    "no token": Replay(),
    "too few tokens": replay([1, 2], text_tokens=[3, 1]),
    "too many tokens": replay([1, 2], text_tokens=[3, 1, 2, 3]),
    "too few codes": replay([1, 2], codes=code_rows([1])),
    "too many codes": replay([1, 2], codes=code_rows([1, 2, 3])),
    "half a code": replay([1, 2], codes=code_rows([1, 2])[:-1]),
    "frames without end": replay([1, 2], frames=2**32 - 1),
    "a code beyond the codebook": replay([1, 2], codes=code_rows([1, 64])),
    "a token beyond the vocabulary": replay([1, 2], text_tokens=[3, 1, 64]),
    "a token that is no int32": replay([1, 2], text_tokens=[3, 1, 2**32 - 1]),
}


@pytest.mark.parametrize("history", BAD_REPLAYS.values(), ids=BAD_REPLAYS.keys())
async def test_a_replay_that_does_not_fit_is_refused_and_nobody_else_suffers(history: Replay) -> None:
    # Half a code and a token above 2^31 used to end the stream as an internal error.
    async with lm() as (running, call):
        await call.open(1)
        await call.send(Request(opens=[Open(session=2, replay=history), Open(session=3)]))
        why, message = await call.failure(2)
        assert why == PROTOCOL
        assert "replay" in message or "codes must be below 64" in message
        await call.send_codes({1: [PADDING]})
        await call.until(lambda: call.tokens[1] and 3 in call.opened)
        assert running.slots_free == 2
        assert all(history is None for _, history in running.engine.opened)


# Resets


async def test_a_reset_starts_again_in_the_same_slot_with_nothing_left() -> None:
    async with lm(slots=1) as (running, call):
        await call.open(1)
        await call.send_codes({1: [BOUNDARY, YES]})
        await call.until(lambda: len(call.tokens[1]) == 2)
        await call.send(Request(resets=[1]))
        await call.until(lambda: call.opened == [1, 1])
        call.tokens.clear()
        await call.send_codes({1: [PADDING, BOUNDARY, NO, PADDING]})
        await call.until(lambda: len(call.tokens[1]) == 4)
        assert said(call, 1) == [PADDING, BOUNDARY, NO, PADDING]
        assert call.tokens[1][0][0] == 0
        # The word that was open is gone: whoever wants it sends `finishes` before.
        assert call.words[1] == [(3, "no", 1, 3, True)]
        assert np.array(running.engine.heard[0])[:, 0].tolist() == [PADDING, BOUNDARY, NO, PADDING]


async def test_a_reset_during_the_initial_step_is_opened_once_and_hears_its_own_frames() -> None:
    # The answer to the first initial step used to count as the second's, and the second's as that of frame 0.
    async with lm() as (running, call):
        running.engine.hang()
        await call.send(Request(opens=[Open(session=1)]))
        await asyncio.to_thread(running.engine.hanging.wait)
        await call.send(Request(resets=[1], codes=codes({1: [BOUNDARY, YES, PADDING]})))
        await until(lambda: next(iter(running.worker.streams)).sessions[1].on_their_way == 3)
        running.engine.resume()
        await call.until(lambda: call.words[1])
        assert call.opened == [1]
        assert said(call, 1) == [BOUNDARY, YES, PADDING]
        assert call.words[1] == [(2, "yes", 0, YES_FRAMES, True)]


async def test_a_reset_of_a_session_that_is_over_is_nothing() -> None:
    async with lm() as (_, call):
        await call.send(Request(resets=[5], closes=[6]))
        await call.until(lambda: call.closed)
        assert call.closed == [6]
        assert not call.opened
