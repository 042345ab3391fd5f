"""CodecService: the gateway's frames to the step loop, its codes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsm_stt.codec.v1 import codec_pb2, codec_pb2_grpc
from services.common.errors import NotReady, ProtocolViolation
from services.common.framing import FRAME_SAMPLES
from services.common.telemetry.worker_trace import WorkerTrace
from services.common.worker_stream import PROTOCOL, Worker, WorkerSession, WorkerStream, split_rows

# 60 s, far more than Mimi can remember.
_MAX_WARMUP_FRAMES = 750

_SAMPLE_TYPES: dict[int, np.dtype[Any]] = {
    codec_pb2.SAMPLE_FORMAT_F32: np.dtype("<f4"),
    codec_pb2.SAMPLE_FORMAT_S16: np.dtype("<i2"),
}


class CodecStream(WorkerStream[codec_pb2.EncodeRequest, codec_pb2.EncodeResponse, WorkerSession]):
    """One gateway's call."""

    def __init__(self, worker: Worker[WorkerSession], credit_frames: int, info: codec_pb2.CodecInfo) -> None:
        super().__init__(worker, credit_frames)
        self._info = info
        self._opened: list[int] = []
        # Answers since the last response: (session, its number of the frame, codes).
        self._codes: list[tuple[int, int, NDArray[np.uint16]]] = []

    def make_session(self, slot: int, number: int, trace: WorkerTrace | None) -> WorkerSession:
        """Make the session that will hold this slot."""
        return WorkerSession(slot, number, self, trace)

    def handle(self, request: codec_pb2.EncodeRequest) -> None:
        """Apply one request, part by part in the order of its fields."""
        for opening in request.opens:
            self._open(opening)
        for number in request.resets:
            self._reset(number)
        if request.HasField("audio"):
            self._submit_audio(request.audio)
        for number in request.closes:
            self.close_session(number)

    def _open(self, opening: codec_pb2.SessionOpen) -> None:
        frame_bytes = FRAME_SAMPLES * 4
        if len(opening.warmup_pcm) % frame_bytes or len(opening.warmup_pcm) > _MAX_WARMUP_FRAMES * frame_bytes:
            self.refuse(
                opening.session,
                PROTOCOL,
                f"warmup_pcm: wanted whole frames of {frame_bytes} bytes, at most {_MAX_WARMUP_FRAMES}, "
                f"got {len(opening.warmup_pcm)} bytes",
            )
            return
        warmup = np.frombuffer(opening.warmup_pcm, "<f4").reshape(-1, FRAME_SAMPLES) if opening.warmup_pcm else None
        frames = 0 if warmup is None else len(warmup)
        session = self.open_session(opening.session, opening.traceparent, warmup, frames)
        if session is not None:
            self._opened.append(session.number)
            self.wake.set()

    def _reset(self, number: int) -> None:
        if self.reset_session(number) is not None:
            self._opened.append(number)
            self.wake.set()

    def _submit_audio(self, audio: codec_pb2.AudioBatch) -> None:
        kind = _SAMPLE_TYPES.get(audio.sample_format)
        if kind is None:
            raise ProtocolViolation(f"sample_format: wanted F32 or S16, got {audio.sample_format}")
        if len(audio.sessions) != len(audio.frames) or len(audio.samples) % kind.itemsize:
            raise ProtocolViolation("audio: sessions, frames and samples do not fit each other")
        flat = np.frombuffer(audio.samples, kind)
        samples = flat / np.float32(32768) if kind.kind == "i" else flat
        for number, rows in zip(audio.sessions, split_rows(audio.frames, samples, FRAME_SAMPLES, "audio"), strict=True):
            self.submit(number, rows)

    def add_codes(self, session: WorkerSession, codes: NDArray[np.uint16]) -> None:
        """Take the answer to one frame. codes: [codebooks]."""
        self._codes.append((session.number, session.answered, codes))
        session.answered += 1
        session.on_their_way -= 1
        self.wake.set()

    def first_response(self) -> codec_pb2.EncodeResponse:
        """Say which codec this is."""
        return codec_pb2.EncodeResponse(info=self._info)

    def waiting(self) -> int:
        """Count the answers that wait to be sent."""
        return len(self._opened) + len(self._codes)

    def take_response(self) -> codec_pb2.EncodeResponse:
        """Make a response of everything that waits."""
        response = codec_pb2.EncodeResponse()
        for number in self._opened:
            response.opened.add(session=number, credit_frames=self.credit_frames)
        self._opened.clear()
        if self._codes:
            batch = response.codes
            batch.sessions.extend([number for number, _, _ in self._codes])
            batch.first_frames.extend([frame for _, frame, _ in self._codes])
            batch.frames.extend([1] * len(self._codes))
            batch.codes = np.concatenate([codes for _, _, codes in self._codes]).astype("<u2", copy=False).tobytes()
            self._codes.clear()
        return response


def deliver(sessions: Sequence[WorkerSession], codes: NDArray[np.uint16]) -> None:
    """Hand a step's codes, [sessions, codebooks], to the streams of the sessions that were stepped."""
    for session, row in zip(sessions, codes, strict=True):
        if session.open:
            stream = session.stream
            assert isinstance(stream, CodecStream)
            stream.add_codes(session, row)


class CodecServicer(codec_pb2_grpc.CodecServiceServicer):
    """Serves gateways; each call is a CodecStream."""

    def __init__(self, worker: Worker[WorkerSession], credit_frames: int) -> None:
        self._worker = worker
        self._credit_frames = credit_frames
        # Known once the model is loaded.
        self.info: codec_pb2.CodecInfo | None = None

    async def Encode(
        self, request_iterator: AsyncIterator[codec_pb2.EncodeRequest], context: Any
    ) -> AsyncIterator[codec_pb2.EncodeResponse]:
        """Serve one gateway until it leaves."""
        if self.info is None or not self._worker.ready:
            raise NotReady("the codec is still loading")
        stream = CodecStream(self._worker, self._credit_frames, self.info)
        responses = stream.serve(request_iterator)
        try:
            async for response in responses:
                yield response
        finally:
            await responses.aclose()  # type: ignore[attr-defined]
