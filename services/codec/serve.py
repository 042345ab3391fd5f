"""Composition root of the codec worker: names every concrete class, and nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import structlog
from numpy.typing import NDArray

from dsm_stt.codec.v1 import codec_pb2, codec_pb2_grpc
from services.codec.config import CodecConfig
from services.codec.engine import CodecEngine
from services.codec.servicer import CodecServicer, deliver
from services.common.checkpoint import Checkpoint, Part
from services.common.env import public_values
from services.common.errors import EngineFailed
from services.common.framing import FRAME_SAMPLES, SAMPLE_RATE_HZ
from services.common.grpc_server import stop_on_signals
from services.common.log import configure_logging
from services.common.registry import resolve
from services.common.step_budget import StepBudget
from services.common.step_loop import StepLoop
from services.common.telemetry.exporting import exporting
from services.common.worker_serve import WorkerProcess, WorkerSettings, leave
from services.common.worker_stream import Worker, WorkerSession

_SERVICE = codec_pb2.DESCRIPTOR.services_by_name["CodecService"].full_name

_log = structlog.get_logger()


def run(config: CodecConfig) -> int:
    """Run a codec worker until SIGTERM or SIGINT; returns the exit code. Raises DsmError when it cannot start."""
    configure_logging(config.log_level, config.log_format, "codec")
    _log.info("starting", **public_values(config))
    with exporting(config, "codec"):
        code = asyncio.run(_serve(config))
    return leave(code)


async def _serve(config: CodecConfig) -> int:
    def load_checkpoint() -> tuple[CodecEngine, codec_pb2.CodecInfo]:
        checkpoint = resolve(config.model, parts={Part.CODEC})
        # Imported in the step thread, which is the only one to touch torch; the server answers probes meanwhile.
        from services.codec.encoder_engine import load  # noqa: PLC0415

        engine = load(checkpoint, slots=config.slots, device=config.device, dtype=config.dtype, threads=config.threads)
        return engine, codec_info(checkpoint, engine)

    return await codec_process(load_checkpoint, config.listen, config).run(stop_on_signals())


def codec_process(
    load: Callable[[], tuple[CodecEngine, codec_pb2.CodecInfo]], listen: str, settings: WorkerSettings
) -> WorkerProcess:
    """Put a codec worker together. load: makes the engine and says what it is, in the step thread."""

    def build() -> CodecEngine:
        engine, servicer.info = load()
        loop.labels["model"] = servicer.info.codec_id
        return engine

    def fail(error: EngineFailed) -> None:
        process.fail(error)

    loop: StepLoop[WorkerSession, NDArray[np.uint16]] = StepLoop(
        build, deliver, fail, "codec", StepBudget(settings.step_budget_s)
    )
    worker = Worker("codec", loop)
    servicer = CodecServicer(worker, settings.credit_frames)
    process = WorkerProcess(
        worker,
        listen,
        _SERVICE,
        lambda server: codec_pb2_grpc.add_CodecServiceServicer_to_server(servicer, server),
        settings,
    )
    return process


def codec_info(checkpoint: Checkpoint, engine: CodecEngine) -> codec_pb2.CodecInfo:
    """Say what this worker encodes with."""
    return codec_pb2.CodecInfo(
        codec_id=checkpoint.codec_id,
        codebooks=engine.codebooks,
        cardinality=engine.cardinality,
        frame_samples=FRAME_SAMPLES,
        sample_rate_hertz=SAMPLE_RATE_HZ,
        reach_frames=engine.reach_frames,
    )
