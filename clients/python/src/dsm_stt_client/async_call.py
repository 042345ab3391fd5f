"""One StreamingRecognize call of an asyncio stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from dsm_stt_client.changed import Signal
from dsm_stt_client.channels import Channels
from dsm_stt_client.continuing import cancelled, incomplete, silent
from dsm_stt_client.errors import SpeechError
from dsm_stt_client.final_status import FinalStatus
from dsm_stt_client.proto import speech_pb2 as pb
from dsm_stt_client.proto import speech_pb2_grpc
from dsm_stt_client.session import CallPlan
from dsm_stt_client.status import error_of
from dsm_stt_client.target import Target, new_request_id


class AsyncCall:
    """Sends what its plan's reader reads, in a task of its own, until it is ended."""

    def __init__(
        self,
        target: Target,
        channels: Channels[grpc.aio.Channel],
        plan: CallPlan,
        changed: Signal,
        timeout_s: float | None,
    ) -> None:
        """Open the call. changed: is notified when there is more to read."""
        self.plan = plan
        self.request_id = new_request_id()
        self.channel = channels.take()
        self._channels = channels
        self._changed = changed
        self._over = False
        stub = speech_pb2_grpc.SpeechServiceStub(self.channel)
        self._rpc: Any = stub.StreamingRecognize(metadata=target.metadata(self.request_id), timeout=timeout_s)
        self._status = FinalStatus(self._rpc)
        # Not `read`, which forgets responses that came before a failing write.
        self._responses: AsyncIterator[pb.StreamingRecognizeResponse] = aiter(self._rpc)
        self._first: pb.StreamingRecognizeResponse | None = None
        self._writer = asyncio.create_task(self._write())

    async def wait_for_start(self, timeout_s: float) -> None:
        """Wait for the first response. Raises SpeechError."""
        try:
            async with asyncio.timeout(timeout_s):
                self._first = await anext(self._responses)
        except StopAsyncIteration:
            raise incomplete(self.request_id) from None
        except TimeoutError:
            raise silent(self.request_id, timeout_s) from None
        except grpc.aio.AioRpcError as error:
            raise await self._error(error) from None
        except asyncio.CancelledError:
            # grpc raises it for a call that was cancelled, too.
            raise self._cancelled() from None

    async def responses(self) -> AsyncIterator[pb.StreamingRecognizeResponse]:
        """Yield the responses. Raises SpeechError when the call fails."""
        if self._first is not None:
            yield self._first
        try:
            async for response in self._responses:
                yield response
        except grpc.aio.AioRpcError as error:
            raise await self._error(error) from None
        except asyncio.CancelledError:
            raise self._cancelled() from None

    def cancel(self) -> None:
        """Cancel the call; who reads its responses gets Cancelled."""
        self._rpc.cancel()

    async def end(self) -> None:
        """Let go of everything; may be repeated."""
        self._rpc.cancel()
        self._writer.cancel()
        if self._over:
            return
        self._over = True
        self.plan.reader.forget()
        self._changed.notify()
        if (channel := self._channels.give_back(self.channel)) is not None:
            await channel.close()

    async def _write(self) -> None:
        reader = self.plan.reader
        try:
            await self._rpc.write(pb.StreamingRecognizeRequest(config=self.plan.config))
            while not self._over:
                if (request := reader.next()) is not None:
                    # There may be room now.
                    self._changed.notify()
                    await self._rpc.write(request)
                elif reader.at_end:
                    await self._rpc.done_writing()
                    return
                else:
                    await self._changed.wait()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The call is over: who reads its responses gets to know why.
            return

    async def _error(self, error: grpc.aio.AioRpcError) -> SpeechError:
        return error_of(await self._status.of(error), self.request_id)

    def _cancelled(self) -> BaseException:
        """Tell our own task's cancellation from the call's."""
        task = asyncio.current_task()
        if (task is not None and task.cancelling()) or not self._rpc.cancelled():
            return asyncio.CancelledError()
        return cancelled(self.request_id)
