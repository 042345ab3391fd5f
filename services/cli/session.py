"""One StreamingRecognize call, from the caller's side."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator

import grpc

from dsm_stt.speech.v1 import speech_pb2, speech_pb2_grpc
from services.cli.failure import CallFailed, explain
from services.cli.final_status import FinalStatus
from services.common.call import REQUEST_ID_HEADER

# An environment variable and not a flag, since everybody on a machine can read the flags of a process.
API_KEY_VARIABLE = "DSM_API_KEY"
API_KEY_HEADER = "x-api-key"


def metadata(request_id: str) -> list[tuple[str, str]]:
    """Return what goes with a call: its id, and the caller's API key if there is one."""
    key = os.environ.get(API_KEY_VARIABLE, "").strip()
    return [(REQUEST_ID_HEADER, request_id), *([(API_KEY_HEADER, key)] if key else [])]


async def list_models(stub: speech_pb2_grpc.SpeechServiceStub) -> list[speech_pb2.Model]:
    """Ask which models are served. Raises CallFailed."""
    request_id = uuid.uuid4().hex
    try:
        response = await stub.ListModels(speech_pb2.ListModelsRequest(), metadata=metadata(request_id))
    except grpc.aio.AioRpcError as error:
        raise explain(error, request_id) from None
    return list(response.models)


async def recognize(
    stub: speech_pb2_grpc.SpeechServiceStub,
    config: speech_pb2.RecognitionConfig,
    audio: AsyncIterator[bytes],
) -> AsyncIterator[speech_pb2.StreamingRecognizeResponse]:
    """Stream the audio and yield the responses as they come.

    Raises CallFailed, also when the stream ends without `session_ended`, and whatever `audio` raises.
    """
    request_id = uuid.uuid4().hex
    audio_errors: list[Exception] = []

    async def requests() -> AsyncIterator[speech_pb2.StreamingRecognizeRequest]:
        yield speech_pb2.StreamingRecognizeRequest(config=config)
        try:
            async for piece in audio:
                yield speech_pb2.StreamingRecognizeRequest(audio=piece)
        except Exception as error:
            # grpc would only log it.
            audio_errors.append(error)
            call.cancel()

    call = stub.StreamingRecognize(requests(), metadata=metadata(request_id))
    status = FinalStatus(call)
    complete = False
    try:
        async for response in call:
            complete = response.HasField("session_ended")
            yield response
    except grpc.aio.AioRpcError as error:
        if audio_errors:
            raise audio_errors[0] from None
        raise explain(await status.of(error), request_id) from None
    finally:
        call.cancel()
    if audio_errors:
        raise audio_errors[0]
    if not complete:
        raise CallFailed("INCOMPLETE", "the service ended the stream before the transcript was complete", "Try again.")
