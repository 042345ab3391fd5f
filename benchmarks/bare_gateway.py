"""A gateway that takes the callers' messages and does nothing with them: what receiving alone costs.

`python -m benchmarks.bare_gateway` stands in for the gateway in `load.py`; its figures are the floor of the real one's.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

from dsm_stt.speech.v1 import speech_pb2 as pb
from dsm_stt.speech.v1 import speech_pb2_grpc
from services.common.env import from_environment
from services.common.grpc_server import GrpcServer, stop_on_signals
from services.common.log import configure_logging
from services.gateway.config import GatewayConfig

_SERVICE = pb.DESCRIPTOR.services_by_name["SpeechService"].full_name
_MOST_BYTES = 4 * 1024 * 1024


class BareServicer(speech_pb2_grpc.SpeechServiceServicer):
    """Reads to the end."""

    async def StreamingRecognize(  # noqa: N802 - the rpc's name
        self, request_iterator: AsyncIterator[pb.StreamingRecognizeRequest], context: Any
    ) -> AsyncIterator[pb.StreamingRecognizeResponse]:
        """Take every message, then end the session."""
        async for _ in request_iterator:
            pass
        yield pb.StreamingRecognizeResponse(session_ended=pb.SessionEnded())


async def _run() -> int:
    configure_logging("info", "json", "gateway")
    config = from_environment(GatewayConfig, os.environ)
    server = GrpcServer(config.listen, [_SERVICE], _MOST_BYTES, config, None, name="gateway")
    speech_pb2_grpc.add_SpeechServiceServicer_to_server(BareServicer(), server.server)
    await server.start()
    await server.set_serving(True)
    await stop_on_signals().wait()
    await server.stop(1.0)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_run()))
