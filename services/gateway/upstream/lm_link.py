"""The stream to one LM worker."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import grpc
import numpy as np
from numpy.typing import NDArray

from dsm_stt.lm.v1 import lm_pb2, lm_pb2_grpc
from services.common.call import current_call
from services.common.telemetry import metrics, spans
from services.gateway.upstream.channels import OpenChannel, open_plain_channel
from services.gateway.upstream.kind import Kind
from services.gateway.upstream.link import LinkLimits, LinkSession, Listener, WorkerLink
from services.gateway.upstream.pending_opens import PendingOpens


class LmWord(NamedTuple):
    """A word as the LM worker sends it: positions are frames fed since the session was opened or reset."""

    text: str
    start_frame: int
    end_frame: int
    final: bool


class Answer(NamedTuple):
    """What the LM worker says to one frame."""

    token: int
    # One probability a head, none without heads.
    pauses: Sequence[float]
    # Every word that starts before this frame has been sent, final.
    final_frame: int
    words: Sequence[LmWord]


class LmListener(Listener, Protocol):
    """Whoever an LM session's answers are for."""

    def on_answer(self, answer: Answer) -> None:
        """Take the answer to the next frame."""

    def on_last_words(self, words: Sequence[LmWord]) -> None:
        """Take words completed by `finish` or `close`."""

    def on_finished(self) -> None:
        """`finish` is done; its word, if any, has come."""

    def on_lm_reset(self) -> None:
        """The session has started again, as asked."""

    def on_lm_closed(self) -> None:
        """`close` is done; its word, if any, has come."""


class ReplayedHistory(NamedTuple):
    """What an LM worker must know of a session to go on with it; see Replay in lm.proto."""

    first_frame: int
    frames: int
    # frames * codebooks, little-endian uint16.
    codes: bytes
    text_tokens: Sequence[int]
    finished_after_frames: Sequence[int]


class LmSession(LinkSession[LmListener]):
    """One session on an LM worker."""

    def __init__(self, number: int, listener: LmListener, link: LmLink) -> None:
        super().__init__(number, listener)
        self._link = link
        # Text index 0, once the session is open.
        self.initial_token = 0

    @property
    def target(self) -> str:
        """Where the worker is."""
        return self._link.target

    def send(self, codes: NDArray[np.uint16]) -> None:
        """Send frames of codes, [frames, codebooks]. The caller keeps to `credit_frames`."""
        self._link.queue_codes(self.number, codes)

    def finish(self) -> None:
        """Ask that an open word be completed; every frame sent must have been answered."""
        self._link.queue_finish(self.number)

    def reset(self) -> None:
        """Ask for a fresh state; every frame sent must have been answered."""
        self._link.queue_reset(self.number)

    def finish_and_close(self) -> None:
        """End the session with its last word; `on_lm_closed` follows."""
        if not self.ended:
            self._link.queue_close(self.number)

    def close(self) -> None:
        """End the session; answers on their way are dropped."""
        if not self.ended:
            self._link.forget(self)
            self._link.queue_close(self.number)


@dataclass(frozen=True)
class ModelInfo:
    """What the gateway knows of a model: LmInfo, in Python's types."""

    name: str
    language_codes: tuple[str, ...]
    codec_id: str
    delay_frames: int
    prefix_samples: int
    suffix_samples: int
    pause_horizons_ms: tuple[int, ...]
    trained: bool


class LmLink(WorkerLink[lm_pb2.GenerateRequest, lm_pb2.GenerateResponse, LmSession]):
    """One stream to one LM worker."""

    kind = Kind.LM

    def __init__(
        self,
        target: str,
        limits: LinkLimits,
        on_change: Callable[[], None],
        open_channel: OpenChannel = open_plain_channel,
    ) -> None:
        super().__init__(target, limits, on_change, open_channel)
        self.model: ModelInfo | None = None
        self._heads = 0
        self.clear_pending()

    @property
    def served(self) -> str:
        """Return the model's name."""
        return self.model.name if self.model else ""

    def serves(self, model: str) -> bool:
        """Tell whether this worker computes that model."""
        return self.connected and self.model is not None and self.model.name == model

    def open(self, listener: LmListener, interim: bool, history: ReplayedHistory | None) -> LmSession:
        """Ask for a session, a new one or one with a history; await its `opening`."""
        session = self.add_session(lambda number: LmSession(number, listener, self))
        request_id = current_call().request_id
        opening = lm_pb2.SessionOpen(
            session=session.number, interim=interim, request_id=request_id, traceparent=spans.traceparent()
        )
        if history is not None:
            opening.replay.MergeFrom(lm_pb2.Replay(**history._asdict()))
        self._opens.add(opening)
        self.wake()
        return session

    def queue_codes(self, number: int, codes: NDArray[np.uint16]) -> None:
        """Have frames sent with the next message."""
        self._codes.append((number, codes))
        self.wake()

    def queue_finish(self, number: int) -> None:
        """Have a finish sent with the next message."""
        self._request.finishes.append(number)
        self.wake()

    def queue_reset(self, number: int) -> None:
        """Have a reset sent with the next message."""
        self._request.resets.append(number)
        self.wake()

    def queue_close(self, number: int) -> None:
        """Have a close sent with the next message."""
        if self.connected and not self._opens.drop(number):
            self._request.closes.append(number)
            self.wake()

    def clear_pending(self) -> None:
        """Forget what waits to be sent."""
        self._request = lm_pb2.GenerateRequest()
        self._opens: PendingOpens[lm_pb2.SessionOpen] = PendingOpens()
        self._codes: list[tuple[int, NDArray[np.uint16]]] = []

    def start_call(self, channel: grpc.aio.Channel) -> Any:
        """Start Generate."""
        return lm_pb2_grpc.LmServiceStub(channel).Generate()

    def take_request(self) -> lm_pb2.GenerateRequest | None:
        """Make a request of everything that waits, up to the size of a message."""
        request, self._request = self._request, lm_pb2.GenerateRequest()
        codes, self._codes = self._codes, []
        request.opens.extend(self._opens.take())
        if self._opens:
            self.wake()
        if codes:
            batch = request.codes
            batch.sessions.extend([number for number, _ in codes])
            batch.frames.extend([len(rows) for _, rows in codes])
            batch.codes = b"".join([rows.astype("<u2", copy=False).tobytes() for _, rows in codes])
        # Not ByteSize: it encodes the whole message to count.
        return request if request.ListFields() else None

    def on_info(self, info: lm_pb2.LmInfo) -> None:
        """Take which model it is."""
        self.model = ModelInfo(
            name=info.model,
            language_codes=tuple(info.language_codes),
            codec_id=info.codec_id,
            delay_frames=info.delay_frames,
            prefix_samples=info.prefix_samples,
            suffix_samples=info.suffix_samples,
            pause_horizons_ms=tuple(info.pause_horizons_ms),
            trained=info.trained,
        )
        metrics.begin_model(info.model)
        self._heads = len(info.pause_horizons_ms)

    def on_opened(self, session: LmSession, opened: lm_pb2.SessionOpened) -> None:
        """Take the answer to an open or a reset."""
        again = session.opening.done()
        session.initial_token = opened.initial_text_token
        super().on_opened(session, opened)
        if again:
            session.listener.on_lm_reset()

    def on_closed(self, session: LmSession) -> None:
        """Take the answer to a close that was waited for."""
        session.listener.on_lm_closed()

    def handle(self, response: lm_pb2.GenerateResponse) -> None:
        """Hand answers to their sessions: each frame's token together with the words that it brought."""
        words = _words_by_session(response.words)
        tokens = response.tokens
        index = 0
        for number, first, frames in zip(tokens.sessions, tokens.first_frames, tokens.frames, strict=True):
            session = self.find(number)
            waiting = words.get(number)
            for offset in range(frames):
                brought: list[LmWord] = []
                while waiting and waiting[0][0] <= first + offset:
                    brought.append(waiting.popleft()[1])
                if session is not None and not session.ended:
                    pauses = tokens.pause_probabilities[index * self._heads : (index + 1) * self._heads]
                    answer = Answer(tokens.text_tokens[index], pauses, tokens.final_frames[index], brought)
                    session.listener.on_answer(answer)
                index += 1
        for number, waiting in words.items():
            session = self.find(number)
            if session is not None and waiting:
                session.listener.on_last_words([word for _, word in waiting])
        for number in response.finished:
            session = self.find(number)
            if session is not None:
                session.listener.on_finished()


def _words_by_session(batch: lm_pb2.WordsBatch) -> dict[int, deque[tuple[int, LmWord]]]:
    words: dict[int, deque[tuple[int, LmWord]]] = defaultdict(deque)
    columns = zip(
        batch.sessions, batch.frames, batch.texts, batch.start_frames, batch.end_frames, batch.finals, strict=True
    )
    for number, frame, text, start, end, final in columns:
        words[number].append((frame, LmWord(text, start, end, final)))
    return words
