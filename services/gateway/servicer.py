"""SpeechService: the public API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from dsm_stt.speech.v1 import speech_pb2, speech_pb2_grpc
from services.common.call import current_call
from services.common.errors import BadConfig
from services.common.framing import FRAME_MS
from services.gateway.access.caller import Caller
from services.gateway.access.keys import ApiKeys
from services.gateway.access.peers import PeerStreams
from services.gateway.config import GatewayConfig
from services.gateway.durations import from_ms
from services.gateway.feed import Feed
from services.gateway.recognition import recognize
from services.gateway.session_options import session_options
from services.gateway.sessions import Sessions
from services.gateway.upstream.lm_link import ModelInfo
from services.gateway.upstream.workers import Workers


class SpeechServicer(speech_pb2_grpc.SpeechServiceServicer):
    """Serves callers; one pipeline a session does the work."""

    def __init__(
        self, workers: Workers, sessions: Sessions, api_keys: ApiKeys, peers: PeerStreams, config: GatewayConfig
    ) -> None:
        self._workers = workers
        self._sessions = sessions
        self._api_keys = api_keys
        self._peers = peers
        self._config = config

    async def StreamingRecognize(
        self, request_iterator: AsyncIterator[speech_pb2.StreamingRecognizeRequest], context: Any
    ) -> AsyncIterator[speech_pb2.StreamingRecognizeResponse]:
        """Transcribe a stream."""
        caller = self._authenticate(context)
        with self._peers.stream(context.peer()), caller.stream():
            requests = aiter(request_iterator)
            config = await self._first_config(requests)
            options = session_options(config, self._find_model(caller, config.model), self._config)
            async with self._sessions.open(options) as session:
                feed = Feed(session.pipeline, session.outbox.cursors, options, caller, self._config.max_duration_s)
                # Not in a TaskGroup: around a `yield` it would turn every error into a group of them.
                feeding = asyncio.create_task(feed.run(requests))
                try:
                    while (response := await session.outbox.get()) is not None:
                        yield response
                finally:
                    feeding.cancel()

    async def _first_config(
        self, requests: AsyncIterator[speech_pb2.StreamingRecognizeRequest]
    ) -> speech_pb2.RecognitionConfig:
        try:
            async with asyncio.timeout(self._config.idle_timeout_s):
                first = await anext(requests, None)
        except TimeoutError:
            raise BadConfig(
                f"wanted config as the first message, got none for {self._config.idle_timeout_s:g} s"
            ) from None
        kind = "nothing" if first is None else first.WhichOneof("request") or "an empty message"
        if first is None or kind != "config":
            raise BadConfig(f"wanted config as the first message, got {kind}")
        return first.config

    async def Recognize(self, request: speech_pb2.RecognizeRequest, context: Any) -> speech_pb2.RecognizeResponse:
        """Transcribe one recording."""
        caller = self._authenticate(context)
        with self._peers.stream(context.peer()), caller.stream():
            model = self._find_model(caller, request.config.model)
            options = session_options(request.config, model, self._config, whole_file=True)
            async with self._sessions.open(options) as session:
                return await recognize(request.audio, session, caller, self._config.max_duration_s)

    async def ListModels(self, request: speech_pb2.ListModelsRequest, context: Any) -> speech_pb2.ListModelsResponse:
        """List what is served now and the caller may use."""
        caller = self._authenticate(context)
        default = self._workers.default_model()
        return speech_pb2.ListModelsResponse(
            models=[
                speech_pb2.Model(
                    name=name,
                    language_codes=state.info.language_codes,
                    delay=from_ms(state.info.delay_frames * FRAME_MS),
                    pause_horizons=[from_ms(horizon) for horizon in state.info.pause_horizons_ms],
                    is_default=name == default,
                    trained=state.info.trained,
                    slots_total=state.slots_total,
                    slots_free=state.slots_free,
                )
                for name, state in self._workers.models().items()
                if caller.allows(name)
            ]
        )

    def _authenticate(self, context: Any) -> Caller:
        """Find out who calls. Raises ApiKeyInvalid."""
        caller = self._api_keys.authenticate(context.invocation_metadata() or ())
        if caller.key_id:
            current_call().fields["key"] = caller.key_id
        return caller

    def _find_model(self, caller: Caller, name: str) -> ModelInfo:
        """Look a model up, "" for the default. Raises ApiKeyNotAllowed, UnknownModel or WorkerLost."""
        wanted = name or self._workers.default_model()
        # Before the look-up, whose message lists all models.
        if wanted:
            caller.check_model(wanted)
        return self._workers.find_model(wanted)
