"""LmService: the gateway's codes to the step loop, text tokens and timed words back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsm_stt.lm.v1 import lm_pb2, lm_pb2_grpc
from services.common.errors import NotReady, ProtocolViolation
from services.common.telemetry.worker_trace import WorkerTrace
from services.common.worker_stream import PROTOCOL, Worker, WorkerSession, WorkerStream, split_rows
from services.lm.engine import History, LmStep
from services.lm.transcript import Transcript, Word


@dataclass(frozen=True)
class LmFacts:
    """What the streams need of the loaded model. make_transcript: from `interim` and the number of the first frame."""

    info: lm_pb2.LmInfo
    cardinality: int
    text_cardinality: int
    make_transcript: Callable[[bool, int], Transcript]


class LmSession(WorkerSession):
    """One session, with the transcript that grows from its tokens."""

    __slots__ = ("initial_token", "interim", "transcript")

    def __init__(
        self,
        slot: int,
        number: int,
        stream: WorkerStream[Any, Any, Any],
        trace: WorkerTrace | None,
        transcript: Transcript,
        *,
        interim: bool,
    ) -> None:
        super().__init__(slot, number, stream, trace)
        self.transcript = transcript
        self.interim = interim
        # Text index 0; None until the step with the initial tokens is done.
        self.initial_token: int | None = None


class LmStream(WorkerStream[lm_pb2.GenerateRequest, lm_pb2.GenerateResponse, LmSession]):
    """One gateway's call."""

    def __init__(self, worker: Worker[LmSession], credit_frames: int, facts: LmFacts) -> None:
        super().__init__(worker, credit_frames)
        self._facts = facts
        # Of the session that is being opened.
        self._interim = False
        self._first_frame = 0
        self._opened: list[tuple[int, int]] = []
        # Answers since the last response: (session, its number of the frame, text token, final frame).
        self._tokens: list[tuple[int, int, int, int]] = []
        self._pauses: list[NDArray[np.float32]] = []
        # (session, frame, word).
        self._words: list[tuple[int, int, Word]] = []
        self._finished: list[int] = []

    def make_session(self, slot: int, number: int, trace: WorkerTrace | None) -> LmSession:
        """Make the session that will hold this slot."""
        transcript = self._facts.make_transcript(self._interim, self._first_frame)
        return LmSession(slot, number, self, trace, transcript, interim=self._interim)

    def handle(self, request: lm_pb2.GenerateRequest) -> None:
        """Apply one request, part by part in the order of its fields."""
        for opening in request.opens:
            self._open(opening)
        for number in request.resets:
            self._reset(number)
        if request.HasField("codes"):
            self._submit_codes(request.codes)
        for number in request.finishes:
            self._finish(number)
        for number in request.closes:
            session = self.sessions.get(number)
            if session is not None:
                self._add_words(session, session.transcript.finish())
            self.close_session(number)

    def _open(self, opening: lm_pb2.SessionOpen) -> None:
        try:
            history = self._history(opening.replay) if opening.HasField("replay") else None
        except ProtocolViolation as error:
            self.refuse(opening.session, PROTOCOL, str(error))
            return
        self._interim, self._first_frame = opening.interim, opening.replay.first_frame
        session = self.open_session(opening.session, opening.traceparent, history, opening.replay.frames)
        if session is None:
            return
        if history is None:
            self._prime(session)
            return
        # Words of the history were sent by whoever had the session before.
        finished_after = set(opening.replay.finished_after_frames)
        for frames, token in enumerate(history.text_tokens):
            session.transcript.push(int(token))
            if frames in finished_after:
                session.transcript.finish()
        session.answered = opening.replay.first_frame + len(history.codes)
        self._mark_opened(session, int(history.text_tokens[0]))

    def _history(self, replay: lm_pb2.Replay) -> History:
        width = self._facts.info.codebooks
        if len(replay.codes) != replay.frames * width * 2 or len(replay.text_tokens) != replay.frames + 1:
            raise ProtocolViolation(
                f"replay: wanted {replay.frames} frames of {width} codes of 2 bytes and {replay.frames + 1} text "
                f"tokens, got {len(replay.codes)} bytes and {len(replay.text_tokens)} tokens"
            )
        codes = np.frombuffer(replay.codes, "<u2")
        self._check_codes(codes)
        # As Python's integers: not every uint32 fits the type that the engine wants.
        if max(replay.text_tokens) >= self._facts.text_cardinality:
            raise ProtocolViolation(f"replay: text tokens must be below {self._facts.text_cardinality}")
        return History(codes.reshape(replay.frames, width), np.array(replay.text_tokens, np.int32))

    def _reset(self, number: int) -> None:
        session = self.sessions.get(number)
        if session is None:
            return
        self._interim, self._first_frame = session.interim, 0
        session = self.reset_session(number)
        assert session is not None
        self._prime(session)

    def _prime(self, session: LmSession) -> None:
        """Ask for the step with the initial tokens, which takes no audio; the session is open once it is done."""
        self.worker.loop.submit(session, np.zeros((1, self._facts.info.codebooks), np.uint16))

    def _submit_codes(self, batch: lm_pb2.CodesBatch) -> None:
        if len(batch.sessions) != len(batch.frames) or len(batch.codes) % 2:
            raise ProtocolViolation("codes: sessions, frames and codes do not fit each other")
        codes = np.frombuffer(batch.codes, "<u2")
        self._check_codes(codes)
        rows = split_rows(batch.frames, codes, self._facts.info.codebooks, "codes")
        for number, session_rows in zip(batch.sessions, rows, strict=True):
            self.submit(number, session_rows)

    def _check_codes(self, codes: NDArray[np.uint16]) -> None:
        # An index beyond the table would take the whole batch down, on a GPU the whole process.
        if codes.size and int(codes.max()) >= self._facts.cardinality:
            raise ProtocolViolation(f"codes must be below {self._facts.cardinality}, got {int(codes.max())}")

    def _finish(self, number: int) -> None:
        session = self.sessions.get(number)
        if session is None:
            return
        self._add_words(session, session.transcript.finish())
        self._finished.append(number)
        self.wake.set()

    def add_token(self, session: LmSession, token: int, pauses: NDArray[np.float32]) -> None:
        """Take the answer to one frame, or to the initial step. pauses: [heads]."""
        if session.initial_token is None:
            self._mark_opened(session, token)
            session.transcript.push(token)
            return
        words = session.transcript.push(token)
        final_frame = session.transcript.final_frame
        self._tokens.append((session.number, session.answered, token, final_frame))
        self._pauses.append(pauses)
        session.answered += 1
        session.on_their_way -= 1
        if words:
            self._add_words(session, words)
        self.wake.set()

    def _mark_opened(self, session: LmSession, token: int) -> None:
        session.initial_token = token
        self._opened.append((session.number, token))
        self.wake.set()

    def _add_words(self, session: LmSession, words: Sequence[Word]) -> None:
        frame = max(0, session.answered - 1)
        self._words.extend((session.number, frame, word) for word in words)

    def first_response(self) -> lm_pb2.GenerateResponse:
        """Say which model this is."""
        return lm_pb2.GenerateResponse(info=self._facts.info)

    def waiting(self) -> int:
        """Count the answers that wait to be sent."""
        return len(self._opened) + len(self._tokens) + len(self._words) + len(self._finished)

    def take_response(self) -> lm_pb2.GenerateResponse:
        """Make a response of everything that waits."""
        response = lm_pb2.GenerateResponse()
        for number, token in self._opened:
            response.opened.add(session=number, credit_frames=self.credit_frames, initial_text_token=token)
        self._opened.clear()
        if self._tokens:
            self._fill_tokens(response.tokens)
        if self._words:
            self._fill_words(response.words)
        response.finished.extend(self._finished)
        self._finished.clear()
        return response

    def _fill_tokens(self, batch: lm_pb2.TokensBatch) -> None:
        batch.sessions.extend([number for number, _, _, _ in self._tokens])
        batch.first_frames.extend([frame for _, frame, _, _ in self._tokens])
        batch.frames.extend([1] * len(self._tokens))
        batch.text_tokens.extend([token for _, _, token, _ in self._tokens])
        batch.pause_probabilities.extend(np.concatenate(self._pauses).tolist())
        batch.final_frames.extend([final for _, _, _, final in self._tokens])
        self._tokens.clear()
        self._pauses.clear()

    def _fill_words(self, batch: lm_pb2.WordsBatch) -> None:
        batch.sessions.extend([number for number, _, _ in self._words])
        batch.frames.extend([frame for _, frame, _ in self._words])
        batch.texts.extend([word.text for _, _, word in self._words])
        batch.start_frames.extend([word.start_frame for _, _, word in self._words])
        batch.end_frames.extend([word.end_frame for _, _, word in self._words])
        batch.finals.extend([word.final for _, _, word in self._words])
        self._words.clear()


def deliver(sessions: Sequence[LmSession], result: LmStep) -> None:
    """Hand a step's answers to the streams of the sessions that were stepped."""
    tokens = result.text_tokens.tolist()
    for session, token, pauses in zip(sessions, tokens, result.pauses, strict=True):
        if session.open:
            stream = session.stream
            assert isinstance(stream, LmStream)
            stream.add_token(session, token, pauses)


class LmServicer(lm_pb2_grpc.LmServiceServicer):
    """Serves gateways; each call is an LmStream."""

    def __init__(self, worker: Worker[LmSession], credit_frames: int) -> None:
        self._worker = worker
        self._credit_frames = credit_frames
        # Known once the model is loaded.
        self.facts: LmFacts | None = None

    async def Generate(
        self, request_iterator: AsyncIterator[lm_pb2.GenerateRequest], context: Any
    ) -> AsyncIterator[lm_pb2.GenerateResponse]:
        """Serve one gateway until it leaves."""
        if self.facts is None or not self._worker.ready:
            raise NotReady("the model is still loading")
        responses = LmStream(self._worker, self._credit_frames, self.facts).serve(request_iterator)
        try:
            async for response in responses:
                yield response
        finally:
            await responses.aclose()  # type: ignore[attr-defined]
