"""Request sequences that no sensible client sends, and a stack in a thread of its own to send them to.

Hypothesis calls plain functions, so `FuzzedStack` keeps its event loop in a thread. Whatever is sent, a call must end
with OK or with an error of the table in speech.proto, leave no slot taken, and leave both workers alive.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple, Self

import grpc
from google.protobuf.duration_pb2 import Duration
from hypothesis import strategies as st

from dsm_stt.speech.v1 import speech_pb2 as pb
from services.cli.final_status import FinalStatus
from tests.gateway.audio.oggs import opus_stream
from tests.speech import config, flush, reason, saying, seconds
from tests.stack import FakeStack

_TIMEOUT_S = 60.0
_SERVICE = "/dsm_stt.speech.v1.SpeechService/"
_PROTO = Path(__file__).parents[1] / "proto" / "dsm_stt" / "speech" / "v1" / "speech.proto"

ENCODINGS = tuple(pb.AudioEncoding.values())
# Opus packets of 20 ms of silence.
_OGG = opus_stream([b"\xf8\xff\xfe"] * 50)


class Caller(NamedTuple):
    """What one caller sends. cancel_after: responses that it reads before it leaves; None to read them all."""

    messages: Sequence[bytes]
    cancel_after: int | None


class Outcome(NamedTuple):
    """How a call ended. reason: "" for OK and for a call that was cancelled."""

    code: grpc.StatusCode
    reason: str
    message: str = ""


def documented() -> set[tuple[str, str]]:
    """Read the codes and reasons of the table in speech.proto; a bug is in it too, and may not happen."""
    rows = re.findall(
        r"//  .*? ([A-Z]+(?:_[A-Z]+)*) {2,}([A-Z_, ]+[A-Z])(?: \+ \w+)?$", _PROTO.read_text(), re.MULTILINE
    )
    codes = {code.name for code in grpc.StatusCode}
    return {(code, name) for code, name in rows if code in codes and code != "INTERNAL"}


def durations() -> st.SearchStrategy[Duration]:
    """Make up durations: sensible ones, and every other one that protobuf can carry."""
    wild = st.builds(
        Duration,
        seconds=st.sampled_from([-(2**63), -1, 0, 1, 61, 2**31, 2**53, 2**63 - 1]),
        nanos=st.sampled_from([-(2**31), -1, 0, 1, 999_999_999, 10**9, 2**31 - 1]),
    )
    return st.one_of(st.floats(0, 3).map(seconds), wild)


def _text(longest: int) -> st.SearchStrategy[str]:
    return st.text(max_size=longest) | st.just("x" * (longest + 1))


def _results() -> st.SearchStrategy[pb.ResultOptions]:
    return st.builds(pb.ResultOptions, interim_results=st.booleans(), vad_interval=st.none() | durations())


def _turns() -> st.SearchStrategy[pb.TurnOptions]:
    share = st.none() | st.floats(0, 1, width=32) | st.floats(width=32)
    return st.builds(
        pb.TurnOptions,
        enabled=st.booleans(),
        end_threshold=share,
        eager_end_threshold=share,
        pause_horizon=st.none() | st.just(seconds(0.5)) | durations(),
        min_silence=st.none() | durations(),
        max_silence=st.none() | durations(),
        flush_on_end=st.booleans(),
    )


def audio_formats() -> st.SearchStrategy[pb.AudioFormat]:
    """Make up formats, most of them possible."""
    return st.builds(
        pb.AudioFormat,
        encoding=st.sampled_from(ENCODINGS) | st.sampled_from([-1, 99]),
        sample_rate_hertz=st.sampled_from([0, 8_000, 24_000, 44_100, 48_000]) | st.integers(0, 2**32 - 1),
        channels=st.sampled_from([0, 1, 1, 2, 3, 2**32 - 1]),
    )


def configs() -> st.SearchStrategy[pb.RecognitionConfig]:
    """Make up configs: anything, and ones that are right but for their audio."""
    resume = st.builds(
        pb.Resume, audio_offset=durations(), words_from=durations(), turn_index=st.sampled_from([0, 1, 2**32 - 1])
    )
    anything = st.builds(
        pb.RecognitionConfig,
        model=st.sampled_from(["", "fake", "whisper"]) | st.text(max_size=20),
        audio_format=audio_formats(),
        language_codes=st.lists(st.sampled_from(["en", "en-GB", "tlh", ""]), max_size=3),
        results=st.none() | _results(),
        turns=st.none() | _turns(),
        idle_timeout=st.none() | durations(),
        resume=st.none() | resume,
        labels=st.dictionaries(_text(64), _text(256), max_size=17),
    )
    right = st.builds(
        lambda encoding, results, turns: pb.RecognitionConfig(
            audio_format=pb.AudioFormat(encoding=encoding, sample_rate_hertz=0 if encoding == 5 else 24_000),
            results=results,
            turns=turns,
        ),
        st.sampled_from([1, 2, 3, 4, 5]),
        st.none() | _results(),
        st.none() | _turns(),
    )
    return st.one_of(right, anything)


def audio() -> st.SearchStrategy[bytes]:
    """Make up audio: random bytes, samples that are no numbers, pieces of Ogg with a flaw in them, speech."""
    flawed = st.builds(
        lambda at, byte: _OGG[:at] + bytes([byte]) + _OGG[at + 1 :], st.integers(0, len(_OGG)), st.integers(0, 255)
    )
    return st.one_of(
        st.binary(max_size=5_000),
        st.integers(0, 20_000).map(bytes),
        st.just(b"\0\0\xc0\x7f" * 100),
        flawed,
        st.integers(0, len(_OGG)).map(lambda at: _OGG[:at]),
        st.integers(2, 30).map(lambda frames: saying(frames, {1: [10]})),
    )


def requests() -> st.SearchStrategy[bytes]:
    """Make up one message after the first, as bytes."""
    request = pb.StreamingRecognizeRequest
    made = st.one_of(
        audio().map(lambda piece: request(audio=piece)),
        st.builds(flush, _text(128), end_turn=st.booleans(), reset_context=st.booleans()),
        st.builds(
            lambda name, results, turns: request(update=pb.Update(update_id=name, results=results, turns=turns)),
            _text(128),
            st.none() | _results(),
            st.none() | _turns(),
        ),
        (st.none() | durations()).map(lambda duration: request(silence=pb.Silence(duration=duration))),
        st.just(request(keep_alive=pb.KeepAlive())),
        st.just(request()),
        configs().map(lambda some: request(config=some)),
    )
    return made.map(lambda message: message.SerializeToString()) | st.binary(max_size=50)


def sensible_requests() -> st.SearchStrategy[bytes]:
    """Make up a message after the first that most configs allow."""
    update = pb.Update(update_id="u", turns=pb.TurnOptions(enabled=True))
    made = st.one_of(
        st.integers(2, 12).map(lambda frames: pb.StreamingRecognizeRequest(audio=saying(frames, {1: [10]}))),
        st.builds(flush, st.just("f"), end_turn=st.booleans(), reset_context=st.booleans()),
        st.floats(0.01, 2).map(lambda at: pb.StreamingRecognizeRequest(silence=pb.Silence(duration=seconds(at)))),
        st.just(pb.StreamingRecognizeRequest(keep_alive=pb.KeepAlive())),
        st.just(pb.StreamingRecognizeRequest(update=update)),
    )
    return made.map(lambda message: message.SerializeToString())


def callers() -> st.SearchStrategy[Caller]:
    """Make up what a caller sends: nothing but nonsense, or a good beginning and then some."""
    first = configs().map(lambda some: pb.StreamingRecognizeRequest(config=some).SerializeToString()) | requests()
    nonsense = st.builds(lambda head, rest: [head, *rest], first, st.lists(requests(), max_size=8))
    good = st.sampled_from([config(), config(turns=pb.TurnOptions(enabled=True, flush_on_end=True))])
    deep = st.builds(
        lambda head, middle, rest: [head.SerializeToString(), *middle, *rest],
        good,
        st.lists(sensible_requests(), max_size=12),
        st.lists(requests(), max_size=2),
    )
    leaves = st.none() | st.none() | st.integers(0, 4)
    return st.builds(Caller, st.one_of(deep, deep, nonsense, st.just([])), leaves)


def recordings() -> st.SearchStrategy[bytes]:
    """Make up RecognizeRequests, as bytes."""
    heads = st.sampled_from([b"", b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0", b"fLaC", b"ID3", b"\xff\xfb\x90", _OGG[:200]])
    recording = st.builds(lambda head, rest: head + rest, heads, audio())
    made = st.builds(
        lambda some, bits: pb.RecognizeRequest(config=some, audio=bits).SerializeToString(), configs(), recording
    )
    return made | st.binary(max_size=50)


class FuzzedStack:
    """A FakeStack in a thread, and counts of how calls ended."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.calls = self.streams = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fuzzed")
        self._allowed = documented()
        assert len(self._allowed) > 10, self._allowed

    def __enter__(self) -> Self:
        self._thread.start()
        self._wait(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._wait(self.stack.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, work: Any) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(_TIMEOUT_S)

    async def _start(self) -> None:
        self.stack = await FakeStack(slots=2, heads=4, max_duration_s=100.0, admission_wait_s=0.5).__aenter__()

    def stream(self, callers: Sequence[Caller]) -> None:
        """Let callers send their sequences side by side, and check what is left."""
        self._check(self._wait(self._stream(callers)))
        self.streams += len(callers)

    def recognize(self, request: bytes) -> None:
        """Send one RecognizeRequest."""
        self._check(self._wait(self._recognize(request)))

    def _check(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            self.calls += 1
            self.outcomes[f"{outcome.code.name} {outcome.reason}".strip()] += 1
            fine = outcome.code in {grpc.StatusCode.OK, grpc.StatusCode.CANCELLED}
            assert fine or (outcome.code.name, outcome.reason) in self._allowed, outcome
        self._wait(self._is_well())

    async def _stream(self, callers: Sequence[Caller]) -> list[Outcome]:
        return await asyncio.gather(*(self._call(caller) for caller in callers))

    async def _call(self, caller: Caller) -> Outcome:
        async def send() -> AsyncIterator[bytes]:
            for message in caller.messages:
                yield message

        call = self.stack.channel.stream_stream(_SERVICE + "StreamingRecognize")(send())
        status = FinalStatus(call)
        read = 0
        try:
            async with asyncio.timeout(30):
                if caller.cancel_after == 0:
                    call.cancel()
                async for _ in call:
                    read += 1
                    if read == caller.cancel_after:
                        call.cancel()
        except grpc.aio.AioRpcError as error:
            return _outcome(await status.of(error))
        except asyncio.CancelledError:
            return Outcome(grpc.StatusCode.CANCELLED, "")
        finally:
            call.cancel()
        return Outcome(grpc.StatusCode.OK, "")

    async def _recognize(self, request: bytes) -> list[Outcome]:
        try:
            await self.stack.channel.unary_unary(_SERVICE + "Recognize")(request, timeout=30)
        except grpc.aio.AioRpcError as error:
            return [_outcome(error)]
        return [Outcome(grpc.StatusCode.OK, "")]

    async def _is_well(self) -> None:
        await self.stack.all_slots_free()
        for running in (*self.stack.codecs, *self.stack.lms):
            assert running.worker.loop.alive()
            assert not running.task.done()
            # The fakes' own records, which would look like a leak.
            running.engine.steps.clear()
            running.engine.opened.clear()
            running.engine.closed.clear()


def _outcome(error: grpc.aio.AioRpcError) -> Outcome:
    if error.code() is grpc.StatusCode.CANCELLED:
        return Outcome(grpc.StatusCode.CANCELLED, "", error.details() or "")
    try:
        why = reason(error)
    except AssertionError:
        why = "none"
    return Outcome(error.code(), why, error.details() or "")
