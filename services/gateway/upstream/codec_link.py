"""The stream to one codec worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import grpc
import numpy as np
from numpy.typing import NDArray

from dsm_stt.codec.v1 import codec_pb2, codec_pb2_grpc
from services.common.call import current_call
from services.common.errors import ProtocolViolation
from services.common.framing import FRAME_SAMPLES, SAMPLE_RATE_HZ
from services.common.telemetry import spans
from services.gateway.upstream.channels import OpenChannel, open_plain_channel
from services.gateway.upstream.kind import Kind
from services.gateway.upstream.link import LinkLimits, LinkSession, Listener, WorkerLink
from services.gateway.upstream.pending_opens import PendingOpens

# Keeps a message below 1 MiB: 128 frames of float32.
_MAX_FRAMES_PER_MESSAGE = 128


class CodecListener(Listener, Protocol):
    """Whoever a codec session's codes are for."""

    def on_codes(self, codes: NDArray[np.uint16]) -> None:
        """Take the codes of the next frames, [frames, codebooks]."""

    def on_codec_reset(self) -> None:
        """The session has started again, as asked."""


class CodecSession(LinkSession[CodecListener]):
    """One session on a codec worker."""

    def __init__(self, number: int, listener: CodecListener, link: CodecLink) -> None:
        super().__init__(number, listener)
        self._link = link

    @property
    def target(self) -> str:
        """Where the worker is."""
        return self._link.target

    @property
    def reach_frames(self) -> int | None:
        """Frames before a frame that its codes depend on; None if the worker does not say."""
        return self._link.info.reach_frames or None

    def send(self, pcm: NDArray[np.float32]) -> None:
        """Send one frame, [1920]. The caller keeps to `credit_frames`."""
        self._link.queue_frame(self.number, pcm)

    def reset(self) -> None:
        """Ask for a fresh state; every frame sent must have been answered."""
        self._link.queue_reset(self.number)

    def close(self) -> None:
        """End the session; answers on their way are dropped."""
        if not self.ended:
            self._link.queue_close(self)


class CodecLink(WorkerLink[codec_pb2.EncodeRequest, codec_pb2.EncodeResponse, CodecSession]):
    """One stream to one codec worker."""

    kind = Kind.CODEC

    def __init__(
        self,
        target: str,
        limits: LinkLimits,
        on_change: Callable[[], None],
        open_channel: OpenChannel = open_plain_channel,
    ) -> None:
        super().__init__(target, limits, on_change, open_channel)
        self.info = codec_pb2.CodecInfo()
        self.clear_pending()

    @property
    def served(self) -> str:
        """Return the codec's id."""
        return self.info.codec_id

    def serves(self, codec_id: str) -> bool:
        """Tell whether this worker encodes with that codec."""
        return self.connected and self.info.codec_id == codec_id

    def open(self, listener: CodecListener, warmup: NDArray[np.float32] | None) -> CodecSession:
        """Ask for a session; await its `opening`. warmup: [frames, 1920], audio it is to hear first."""
        session = self.add_session(lambda number: CodecSession(number, listener, self))
        request_id = current_call().request_id
        opening = codec_pb2.SessionOpen(session=session.number, request_id=request_id, traceparent=spans.traceparent())
        if warmup is not None:
            opening.warmup_pcm = warmup.astype("<f4", copy=False).tobytes()
        self._opens.add(opening)
        self.wake()
        return session

    def queue_frame(self, number: int, pcm: NDArray[np.float32]) -> None:
        """Have one frame sent with the next message."""
        self._frames.append((number, pcm))
        self.wake()

    def queue_reset(self, number: int) -> None:
        """Have a reset sent with the next message."""
        self._request.resets.append(number)
        self.wake()

    def queue_close(self, session: CodecSession) -> None:
        """Have a close sent with the next message."""
        self.forget(session)
        if self.connected and not self._opens.drop(session.number):
            self._request.closes.append(session.number)
            self.wake()

    def clear_pending(self) -> None:
        """Forget what waits to be sent."""
        self._request = codec_pb2.EncodeRequest()
        self._opens: PendingOpens[codec_pb2.SessionOpen] = PendingOpens()
        self._frames: list[tuple[int, NDArray[np.float32]]] = []

    def start_call(self, channel: grpc.aio.Channel) -> Any:
        """Start Encode."""
        return codec_pb2_grpc.CodecServiceStub(channel).Encode()

    def take_request(self) -> codec_pb2.EncodeRequest | None:
        """Make a request of everything that waits, up to the size of a message."""
        request, self._request = self._request, codec_pb2.EncodeRequest()
        frames, self._frames = self._frames[:_MAX_FRAMES_PER_MESSAGE], self._frames[_MAX_FRAMES_PER_MESSAGE:]
        request.opens.extend(self._opens.take())
        if self._frames or self._opens:
            # Closes end sessions whose last frames do not matter any more, so they may go first.
            self.wake()
        if frames:
            audio = request.audio
            audio.sample_format = codec_pb2.SAMPLE_FORMAT_F32
            audio.sessions.extend([number for number, _ in frames])
            audio.frames.extend([1] * len(frames))
            audio.samples = b"".join([pcm.astype("<f4", copy=False).data for _, pcm in frames])
        # Not ByteSize: it encodes the whole message to count.
        return request if request.ListFields() else None

    def on_info(self, info: codec_pb2.CodecInfo) -> None:
        """Take who the worker is."""
        if (info.frame_samples, info.sample_rate_hertz) != (FRAME_SAMPLES, SAMPLE_RATE_HZ):
            raise ProtocolViolation(
                f"{self.target}: wanted frames of {FRAME_SAMPLES} samples at {SAMPLE_RATE_HZ} Hz, "
                f"got {info.frame_samples} at {info.sample_rate_hertz}"
            )
        self.info = info

    def on_opened(self, session: CodecSession, opened: codec_pb2.SessionOpened) -> None:
        """Take the answer to an open or a reset."""
        again = session.opening.done()
        super().on_opened(session, opened)
        if again:
            session.listener.on_codec_reset()

    def handle(self, response: codec_pb2.EncodeResponse) -> None:
        """Hand codes to their sessions."""
        batch = response.codes
        if not batch.sessions:
            return
        codes = np.frombuffer(batch.codes, "<u2").reshape(-1, self.info.codebooks)
        first = 0
        for number, frames in zip(batch.sessions, batch.frames, strict=True):
            session = self.find(number)
            if session is not None:
                session.listener.on_codes(codes[first : first + frames])
            first += frames
