"""The whole service with certificates, and callers with and without."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import grpc

from dsm_stt.speech.v1 import speech_pb2_grpc
from services.common.tls import CertificateFiles
from services.common.worker_serve import WorkerSettings
from tests.fakes.delayed import YES, DelayedLmEngine
from tests.fakes.engines import FakeCodecEngine
from tests.speech import saying
from tests.stack import SETTINGS, FakeModel, Stack, codec_worker, lm_worker

# "yes" from frame 2.
AUDIO = saying(20, {2: [YES]})
WORDS = [("yes", 0.16, 0.4)]


class SecureStack(Stack):
    """A gateway, a codec and an LM worker; each side of each connection has the certificate that it is given."""

    def __init__(
        self,
        *,
        public: CertificateFiles | None = None,
        gateway: CertificateFiles | None = None,
        workers: CertificateFiles | None = None,
        **settings: Any,
    ) -> None:
        """public: TLS for callers. gateway, workers: mTLS between them. settings: more of GatewayConfig."""
        engine = DelayedLmEngine(4)
        worker_settings = mutual(workers)
        if public:
            settings |= {"tls_cert_file": public.cert, "tls_key_file": public.key}
        super().__init__(
            [partial(codec_worker, FakeCodecEngine(4), worker_settings)],
            [partial(lm_worker, engine, FakeModel().facts(engine), worker_settings)],
            **(mutual_settings(gateway) if gateway else {}),
            **settings,
        )


def mutual_settings(files: CertificateFiles) -> dict[str, Path | None]:
    """Name the files as settings do."""
    return {"mtls_cert_file": files.cert, "mtls_key_file": files.key, "mtls_ca_file": files.ca}


def mutual(files: CertificateFiles | None) -> WorkerSettings:
    """Make a worker's settings."""
    return replace(SETTINGS, **mutual_settings(files)) if files else SETTINGS


def trusting(ca_file: Path, own: CertificateFiles | None = None) -> grpc.ChannelCredentials:
    """Make a caller's credentials, with a certificate of its own or without."""
    if own is None:
        return grpc.ssl_channel_credentials(ca_file.read_bytes())
    return grpc.ssl_channel_credentials(ca_file.read_bytes(), own.key.read_bytes(), own.cert.read_bytes())


def channel_to(address: str, credentials: grpc.ChannelCredentials | None, **options: Any) -> grpc.aio.Channel:
    """Open a connection of its own. options: of gRPC, without their prefix."""
    named = [("grpc.use_local_subchannel_pool", 1), *((f"grpc.{name}", value) for name, value in options.items())]
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=named)
    return grpc.aio.secure_channel(address, credentials, options=named)


@asynccontextmanager
async def caller(
    address: str, credentials: grpc.ChannelCredentials | None, **options: Any
) -> AsyncIterator[speech_pb2_grpc.SpeechServiceAsyncStub]:
    """Connect to a gateway as long as the block."""
    async with channel_to(address, credentials, **options) as channel:
        yield speech_pb2_grpc.SpeechServiceStub(channel)  # type: ignore[misc]


async def until_end(call: Any) -> None:
    """Read a call's responses to the last."""
    async for _ in call:
        pass
