"""One StreamingRecognize call of a synchronous stream."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import grpc

from dsm_stt_client.channels import Channels
from dsm_stt_client.continuing import incomplete, silent
from dsm_stt_client.errors import SpeechError
from dsm_stt_client.proto import speech_pb2 as pb
from dsm_stt_client.proto import speech_pb2_grpc
from dsm_stt_client.session import CallPlan
from dsm_stt_client.status import error_of
from dsm_stt_client.target import Target, new_request_id


class StreamCall:
    """Sends what its plan's reader reads, in a thread of grpc's, until it is ended."""

    def __init__(
        self,
        target: Target,
        channels: Channels[grpc.Channel],
        plan: CallPlan,
        changed: threading.Condition,
        timeout_s: float | None,
    ) -> None:
        """Open the call. changed: guards the reader's log, and is notified when there is more to read."""
        self.plan = plan
        self.request_id = new_request_id()
        self.channel = channels.take()
        self._channels = channels
        self._changed = changed
        self._over = False
        stub = speech_pb2_grpc.SpeechServiceStub(self.channel)
        self._rpc: Any = stub.StreamingRecognize(
            self._requests(), metadata=target.metadata(self.request_id), timeout=timeout_s
        )
        self._first: pb.StreamingRecognizeResponse | None = None
        self._timed_out = False

    def wait_for_start(self, timeout_s: float) -> None:
        """Wait for the first response. Raises SpeechError."""
        timer = threading.Timer(timeout_s, self._time_out)
        timer.daemon = True
        timer.start()
        try:
            self._first = next(self._rpc)
        except StopIteration:
            raise incomplete(self.request_id) from None
        except grpc.RpcError as error:
            if self._timed_out:
                raise silent(self.request_id, timeout_s) from None
            raise self._error(error) from None
        finally:
            timer.cancel()

    def responses(self) -> Iterator[pb.StreamingRecognizeResponse]:
        """Yield the responses. Raises SpeechError when the call fails."""
        if self._first is not None:
            yield self._first
        try:
            yield from self._rpc
        except grpc.RpcError as error:
            raise self._error(error) from None

    def cancel(self) -> None:
        """Cancel the call; who reads its responses gets Cancelled."""
        self._rpc.cancel()

    def end(self) -> None:
        """Let go of everything; may be repeated."""
        self._rpc.cancel()
        with self._changed:
            if self._over:
                return
            self._over = True
            self.plan.reader.forget()
            self._changed.notify_all()
        if (channel := self._channels.give_back(self.channel)) is not None:
            channel.close()

    def _requests(self) -> Iterator[pb.StreamingRecognizeRequest]:
        yield pb.StreamingRecognizeRequest(config=self.plan.config)
        while (request := self._next_request()) is not None:
            yield request

    def _next_request(self) -> pb.StreamingRecognizeRequest | None:
        reader = self.plan.reader
        with self._changed:
            while not self._over:
                if (request := reader.next()) is not None:
                    # There may be room now.
                    self._changed.notify_all()
                    return request
                if reader.at_end:
                    break
                self._changed.wait()
        return None

    def _time_out(self) -> None:
        self._timed_out = True
        self._rpc.cancel()

    def _error(self, error: Any) -> SpeechError:
        return error_of(error, self.request_id)
