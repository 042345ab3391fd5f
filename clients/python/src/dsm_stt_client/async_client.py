"""The asyncio client: the twin of `client`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from dsm_stt_client import messages
from dsm_stt_client.async_call import AsyncCall
from dsm_stt_client.async_stream import AsyncStream
from dsm_stt_client.changed import Signal
from dsm_stt_client.channels import Channels
from dsm_stt_client.errors import SpeechError
from dsm_stt_client.events import Model, Transcript
from dsm_stt_client.options import AudioFormat, StreamConfig, TurnOptions
from dsm_stt_client.proto import speech_pb2 as pb
from dsm_stt_client.proto import speech_pb2_grpc
from dsm_stt_client.recording import Source, read
from dsm_stt_client.retry import Backoff, RetryPolicy
from dsm_stt_client.session import CallPlan, Session
from dsm_stt_client.status import error_of
from dsm_stt_client.target import Target, Tls, new_request_id

ResultT = TypeVar("ResultT")
# Makes one call: takes the stub, the request id and the seconds left.
Attempt = Callable[[Any, str, float | None], Awaitable[ResultT]]


class AsyncClient:
    """Calls one service from one event loop. Close it, or use it in an `async with`.

    Errors are those of `dsm_stt_client.errors`. Timeouts are in seconds and None for none.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:50051",
        *,
        tls: bool | Tls = False,
        api_key: str | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        """Connect when the first call is made. address: host:port. tls: True for the CAs that the system trusts.

        Raises OSError or ValueError when files of tls cannot be read, or the key is none.
        """
        self._target = Target.of(address, tls, api_key)
        self._retry = retry or RetryPolicy()
        self._channels = Channels(self._open_channel)

    async def transcribe(
        self,
        source: Source,
        *,
        model: str = "",
        audio_format: AudioFormat | None = None,
        language_codes: Sequence[str] = (),
        turns: TurnOptions | None = None,
        labels: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Transcript:
        """Transcribe a whole recording: a path, an open binary file, or bytes, of at most 64 MiB.

        audio_format: for samples without a header; WAV, FLAC, MP3 and Ogg say themselves what they are.
        """
        request = pb.RecognizeRequest(
            config=messages.recording_config(model, audio_format, language_codes, turns, labels),
            audio=await asyncio.to_thread(read, source),
        )

        async def attempt(stub: Any, request_id: str, left_s: float | None) -> Transcript:
            response = await stub.Recognize(request, metadata=self._target.metadata(request_id), timeout=left_s)
            return messages.transcript(response, request_id)

        return await self._call(attempt, timeout_s)

    async def list_models(self, *, timeout_s: float | None = 10.0) -> list[Model]:
        """Ask which models are served, and may be used with this key."""

        async def attempt(stub: Any, request_id: str, left_s: float | None) -> list[Model]:
            request, metadata = pb.ListModelsRequest(), self._target.metadata(request_id)
            return messages.models(await stub.ListModels(request, metadata=metadata, timeout=left_s))

        return await self._call(attempt, timeout_s)

    def stream(
        self,
        config: StreamConfig | None = None,
        *,
        resume: bool = False,
        most_kept_s: float = 60.0,
        most_unread: int = 1000,
        timeout_s: float | None = None,
    ) -> AsyncStream:
        """Make a stream, to be used in an `async with`, which opens it.

        resume: go on at another connection when this one breaks or its gateway stops; no word is lost or doubled. Audio
        is kept for it until its words are final, at most most_kept_s of it: `send` waits beyond. timeout_s: for the
        whole stream.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s

        def open_call(plan: CallPlan, changed: Signal) -> AsyncCall:
            left_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
            return AsyncCall(self._target, self._channels, plan, changed, left_s)

        session = Session(config or StreamConfig(), resume, most_kept_s)
        return AsyncStream(session, open_call, self._channels.replace, self._retry, most_unread)

    async def close(self) -> None:
        """Close the connection; calls under way end."""
        for channel in self._channels.take_all():
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _open_channel(self) -> grpc.aio.Channel:
        target = self._target
        if target.credentials is None:
            return grpc.aio.insecure_channel(target.address, options=target.channel_options)
        return grpc.aio.secure_channel(target.address, target.credentials, options=target.channel_options)

    async def _call(self, attempt: Attempt[ResultT], timeout_s: float | None) -> ResultT:
        """Make a call, again if that helps; timeout_s is for all attempts together."""
        backoff, began_s = Backoff(self._retry), time.monotonic()
        while True:
            left_s = None if timeout_s is None else timeout_s + began_s - time.monotonic()
            try:
                return await self._attempt(attempt, left_s)
            except SpeechError as error:
                delay_s = backoff.delay_s(error)
                if delay_s is None or (left_s is not None and delay_s >= left_s):
                    raise
            await asyncio.sleep(delay_s)

    async def _attempt(self, attempt: Attempt[ResultT], left_s: float | None) -> ResultT:
        channel, request_id = self._channels.take(), new_request_id()
        try:
            return await attempt(speech_pb2_grpc.SpeechServiceStub(channel), request_id, left_s)
        except grpc.aio.AioRpcError as failed:
            error = error_of(failed, request_id)
            if error.reason == "DRAINING":
                self._channels.replace(channel)
            raise error from None
        finally:
            if (closable := self._channels.give_back(channel)) is not None:
                await closable.close()
