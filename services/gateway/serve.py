"""Composition root of the gateway: names every concrete class, and nothing else does."""

from __future__ import annotations

import asyncio

import structlog

from dsm_stt.speech.v1 import speech_pb2, speech_pb2_grpc
from services.common.env import public_values
from services.common.grpc_server import GrpcServer, stop_on_signals
from services.common.log import configure_logging
from services.common.telemetry.exporting import exporting
from services.common.tls import Certificates
from services.gateway.access.keys import ApiKeys
from services.gateway.access.peers import PeerStreams
from services.gateway.config import GatewayConfig
from services.gateway.servicer import SpeechServicer
from services.gateway.sessions import Sessions
from services.gateway.upstream.workers import Workers

_SERVICE = speech_pb2.DESCRIPTOR.services_by_name["SpeechService"].full_name
# A recording for Recognize, and room for its config.
_MAX_MESSAGE_BYTES = 65 * 1024 * 1024
_WATCH_EVERY_S = 0.2
_FOLLOW_KEYS_EVERY_S = 1.0
_LOOPBACK = ("127.", "localhost:", "[::1]:")

_log = structlog.get_logger()


def run(config: GatewayConfig) -> int:
    """Run a gateway until SIGTERM or SIGINT; returns the exit code. Raises DsmError when it cannot start."""
    configure_logging(config.log_level, config.log_format, "gateway")
    _log.info("starting", **public_values(config))
    if config.api_keys_file and not config.tls_files and not config.listen.startswith(_LOOPBACK):
        _log.warning(
            "API keys come in plain text unless something in front of this port ends TLS", listen=config.listen
        )
    with exporting(config, "gateway"):
        return asyncio.run(_serve(config))


async def _serve(config: GatewayConfig) -> int:
    return await GatewayProcess(config).run(stop_on_signals())


class GatewayProcess:
    """A gateway and what it is made of. Raises ConfigError for wrong addresses, keys files and certificates."""

    def __init__(self, config: GatewayConfig) -> None:
        self._config = config
        self.workers = Workers(config)
        self.sessions = Sessions(self.workers, config)
        self.api_keys = ApiKeys(config.api_keys_file)
        files = config.tls_files
        certificates = Certificates(files) if files else None
        self.server = GrpcServer(
            config.listen, [_SERVICE], _MAX_MESSAGE_BYTES, config, certificates, name="gateway", traced=True
        )
        peers = PeerStreams(config.max_streams_per_peer)
        servicer = SpeechServicer(self.workers, self.sessions, self.api_keys, peers, config)
        speech_pb2_grpc.add_SpeechServiceServicer_to_server(servicer, self.server.server)

    async def run(self, stopping: asyncio.Event) -> int:
        """Serve until `stopping` is set; returns the process's exit code."""
        await self.server.start()
        async with self.workers.running():
            watch = asyncio.create_task(_watch(self.server, self.workers))
            following = asyncio.create_task(self.api_keys.follow_changes(_FOLLOW_KEYS_EVERY_S))
            await stopping.wait()
            watch.cancel()
            following.cancel()
            await self.server.set_serving(False)
            _log.info("draining")
            await self.sessions.drain(self._config.drain_s)
            # A moment for the last responses to reach their callers.
            await self.server.stop(1.0)
        return 0


async def _watch(server: GrpcServer, workers: Workers) -> None:
    """Be healthy while at least one model can be served, with its codec."""
    serving = False
    while True:
        now_serving = bool(workers.models())
        if now_serving != serving:
            serving = now_serving
            await server.set_serving(serving)
            _log.info("health", serving=serving, models=list(workers.models()))
        await asyncio.sleep(_WATCH_EVERY_S)
