"""Composition root of the LM worker: names every concrete class, and nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from dsm_stt.lm.v1 import lm_pb2, lm_pb2_grpc
from services.common.checkpoint import Checkpoint, Part
from services.common.env import public_values
from services.common.errors import EngineFailed
from services.common.grpc_server import stop_on_signals
from services.common.log import configure_logging
from services.common.registry import resolve
from services.common.step_budget import StepBudget
from services.common.step_loop import StepLoop
from services.common.telemetry.exporting import exporting
from services.common.worker_serve import WorkerProcess, WorkerSettings, leave
from services.common.worker_stream import Worker
from services.lm.config import LmConfig
from services.lm.engine import LmEngine, LmStep
from services.lm.servicer import LmFacts, LmServicer, LmSession, deliver
from services.lm.transcript import Transcript, WordEnds
from services.lm.vocabulary import SentencePieceVocabulary

_SERVICE = lm_pb2.DESCRIPTOR.services_by_name["LmService"].full_name

_log = structlog.get_logger()


def run(config: LmConfig) -> int:
    """Run an LM worker until SIGTERM or SIGINT; returns the exit code. Raises DsmError when it cannot start."""
    configure_logging(config.log_level, config.log_format, "lm")
    _log.info("starting", **public_values(config))
    with exporting(config, "lm"):
        code = asyncio.run(_serve(config))
    return leave(code)


async def _serve(config: LmConfig) -> int:
    def load_checkpoint() -> tuple[LmEngine, LmFacts]:
        # First: a wrong name or tokenizer should not be found only once torch and the weights are loaded.
        checkpoint = resolve(config.model, parts={Part.LM})
        facts = lm_facts(checkpoint)
        # Imported in the step thread, which is the only one to touch torch; the server answers probes meanwhile.
        from services.lm.lm_engine import load  # noqa: PLC0415

        engine = load(
            checkpoint,
            slots=config.slots,
            device=config.device,
            dtype=config.dtype,
            kv_dtype=config.kv_dtype,
            temperature=config.temperature,
            threads=config.threads,
        )
        return engine, facts

    return await lm_process(load_checkpoint, config.listen, config).run(stop_on_signals())


def lm_process(load: Callable[[], tuple[LmEngine, LmFacts]], listen: str, settings: WorkerSettings) -> WorkerProcess:
    """Put an LM worker together. load: makes the engine and says what it is, in the step thread."""

    def build() -> LmEngine:
        engine, servicer.facts = load()
        loop.labels["model"] = servicer.facts.info.model
        return engine

    def fail(error: EngineFailed) -> None:
        process.fail(error)

    loop: StepLoop[LmSession, LmStep] = StepLoop(build, deliver, fail, "lm", StepBudget(settings.step_budget_s))
    worker = Worker("lm", loop)
    servicer = LmServicer(worker, settings.credit_frames)
    process = WorkerProcess(
        worker,
        listen,
        _SERVICE,
        lambda server: lm_pb2_grpc.add_LmServiceServicer_to_server(servicer, server),
        settings,
    )
    return process


def lm_facts(checkpoint: Checkpoint) -> LmFacts:
    """Gather what the streams need to know of the model. Raises CheckpointError for a bad tokenizer."""
    vocabulary = SentencePieceVocabulary(checkpoint.tokenizer)
    ends = WordEnds(checkpoint.word_end_base_ms, checkpoint.word_end_per_character_ms, checkpoint.word_end_apart_ms)

    def make_transcript(interim: bool, first_frame: int = 0) -> Transcript:
        return Transcript(
            vocabulary,
            checkpoint.delay_frames,
            ends,
            interim=interim,
            first_frame=first_frame,
            boundary_token=checkpoint.boundary_token,
            padding_token=checkpoint.padding_token,
        )

    return LmFacts(lm_info(checkpoint), checkpoint.card, checkpoint.text_card, make_transcript)


def lm_info(checkpoint: Checkpoint) -> lm_pb2.LmInfo:
    """Say which model this worker computes."""
    return lm_pb2.LmInfo(
        model=checkpoint.name,
        language_codes=checkpoint.language_codes,
        codec_id=checkpoint.codec_id,
        codebooks=checkpoint.codebooks,
        delay_frames=checkpoint.delay_frames,
        prefix_samples=checkpoint.prefix_samples,
        suffix_samples=checkpoint.suffix_samples,
        pause_horizons_ms=checkpoint.pause_horizons_ms,
        trained=checkpoint.trained,
    )
