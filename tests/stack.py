"""All three services in one event loop, on real ports, with engines of the test's choice.

    async with FakeStack(slots=4) as stack:
        async for response in stack.stub.StreamingRecognize(requests): ...

Everything between the ports is the product's own code; only the models are the test's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import grpc

from dsm_stt.codec.v1 import codec_pb2
from dsm_stt.lm.v1 import lm_pb2
from dsm_stt.speech.v1 import speech_pb2_grpc
from services.codec.serve import codec_process
from services.common.errors import EngineFailed
from services.common.framing import FRAME_SAMPLES, SAMPLE_RATE_HZ
from services.common.worker_serve import WorkerProcess, WorkerSettings
from services.gateway.config import GatewayConfig
from services.gateway.serve import GatewayProcess
from services.lm.serve import lm_process
from services.lm.servicer import LmFacts
from tests.fakes.delayed import DELAY_FRAMES, DelayedLmEngine, make_transcript
from tests.fakes.engines import FakeCodecEngine

# What starts a worker, in the running event loop.
StartWorker = Callable[[], "RunningWorker"]

SETTINGS = WorkerSettings(drain_s=0.2, stuck_after_s=0.5)


@dataclass(frozen=True)
class FakeModel:
    """The facts of the model that a DelayedLmEngine computes."""

    name: str = "fake"
    codec_id: str = "fake-codec"
    prefix_samples: int = 0
    suffix_samples: int = (DELAY_FRAMES + 13) * FRAME_SAMPLES
    pause_horizons_ms: tuple[int, ...] = ()
    language_codes: tuple[str, ...] = ("en",)
    trained: bool = True

    def facts(self, engine: DelayedLmEngine) -> LmFacts:
        """Make what the LM servicer needs."""
        info = lm_pb2.LmInfo(
            model=self.name,
            language_codes=self.language_codes,
            codec_id=self.codec_id,
            codebooks=engine.codebooks,
            delay_frames=engine.delay_frames,
            prefix_samples=self.prefix_samples,
            suffix_samples=self.suffix_samples,
            pause_horizons_ms=self.pause_horizons_ms,
            trained=self.trained,
        )
        return LmFacts(
            info,
            engine.cardinality,
            engine.text_cardinality,
            lambda interim, first_frame: make_transcript(interim, first_frame, engine.delay_frames),
        )


class RunningWorker:
    """One worker process's inside, in this event loop."""

    def __init__(self, process: WorkerProcess, engine: Any = None) -> None:
        self.process = process
        self.engine = engine
        self.worker = process.worker
        self.stopping = asyncio.Event()
        self.task = asyncio.create_task(process.run(self.stopping))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.process.server.port}"

    @property
    def slots_free(self) -> int:
        return self.worker.loop.slots.free

    async def listening(self) -> None:
        while not self.process.server.port:
            assert not self.task.done(), self.task.exception()
            await asyncio.sleep(0.005)

    def engine_failure(self) -> EngineFailed:
        """Make what the loop reports when its engine raises."""
        return EngineFailed("the fake was told to fail")

    async def stop(self) -> None:
        self.stopping.set()
        await self.task


def codec_worker(engine: Any, settings: WorkerSettings = SETTINGS, codec_id: str = "fake-codec") -> RunningWorker:
    """Start a codec worker around an engine."""
    info = codec_pb2.CodecInfo(
        codec_id=codec_id,
        codebooks=engine.codebooks,
        cardinality=engine.cardinality,
        frame_samples=FRAME_SAMPLES,
        sample_rate_hertz=SAMPLE_RATE_HZ,
        reach_frames=engine.reach_frames,
    )
    return RunningWorker(codec_process(lambda: (engine, info), "127.0.0.1:0", settings), engine)


def lm_worker(
    engine: Any, facts: LmFacts, settings: WorkerSettings = SETTINGS, listen: str = "127.0.0.1:0"
) -> RunningWorker:
    """Start an LM worker around an engine."""
    return RunningWorker(lm_process(lambda: (engine, facts), listen, settings), engine)


class Stack:
    """A gateway over codec and LM workers; `stub` calls it through a real port."""

    def __init__(self, codecs: Sequence[StartWorker], lms: Sequence[StartWorker], **gateway: Any) -> None:
        """codecs, lms: what starts each worker. gateway: settings of GatewayConfig."""
        self._start_codecs = codecs
        self._start_lms = lms
        self._gateway_settings = gateway
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.codecs = [start() for start in self._start_codecs]
        self.lms = [start() for start in self._start_lms]
        for running in (*self.codecs, *self.lms):
            await running.listening()
        config = replace(
            GatewayConfig(
                listen="127.0.0.1:0",
                codecs=tuple(running.address for running in self.codecs),
                lms=tuple(running.address for running in self.lms),
                drain_s=0.2,
                # A busy machine must not look like a dead worker.
                heartbeat_timeout_s=60.0,
                hung_after_s=60.0,
            ),
            **self._gateway_settings,
        )
        self.gateway = GatewayProcess(config)
        self.stopping = asyncio.Event()
        self._gateway_task = asyncio.create_task(self.gateway.run(self.stopping))
        while not self.gateway.workers.models():
            assert not self._gateway_task.done(), self._gateway_task.exception()
            await asyncio.sleep(0.005)
        self.address = f"127.0.0.1:{self.gateway.server.port}"
        self.channel = await self._exits.enter_async_context(
            grpc.aio.insecure_channel(self.address, options=[("grpc.max_send_message_length", -1)])
        )
        self.stub = speech_pb2_grpc.SpeechServiceStub(self.channel)
        return self

    def start_lm(self, engine: Any, facts: LmFacts, listen: str) -> RunningWorker:
        """Start one more LM worker, on an address that the gateway knows."""
        running = lm_worker(engine, facts, listen=listen)
        self.lms.append(running)
        return running

    async def __aexit__(self, *_: object) -> None:
        await self._exits.aclose()
        self.stopping.set()
        await self._gateway_task
        for running in (*self.codecs, *self.lms):
            await running.stop()

    @property
    def slots_free(self) -> tuple[list[int], list[int]]:
        """Free slots of each codec worker and of each LM worker."""
        return [running.slots_free for running in self.codecs], [running.slots_free for running in self.lms]

    async def all_slots_free(self, timeout_s: float = 10.0) -> None:
        """Wait until no slot is taken in any worker."""
        async with asyncio.timeout(timeout_s):
            while any(running.slots_free < running.worker.loop.slots.total for running in (*self.codecs, *self.lms)):
                await asyncio.sleep(0.01)


def fake_codec(engine: FakeCodecEngine) -> StartWorker:
    """Say how to start a codec worker with a fake engine."""
    return partial(codec_worker, engine)


def fake_lm(engine: DelayedLmEngine, model: FakeModel | None = None) -> StartWorker:
    """Say how to start an LM worker with a fake engine."""
    return partial(lm_worker, engine, (model or FakeModel()).facts(engine))


class FakeStack(Stack):
    """One codec and one LM worker with fake engines."""

    def __init__(self, slots: int = 4, heads: int = 0, model: FakeModel | None = None, **gateway: Any) -> None:
        """heads: pause heads, at 0.5, 1, 2, 3 s. gateway: settings of GatewayConfig."""
        self.codec_engine = FakeCodecEngine(slots)
        self.lm_engine = DelayedLmEngine(slots, heads)
        self.model = model or FakeModel(pause_horizons_ms=(500, 1000, 2000, 3000)[:heads])
        super().__init__([fake_codec(self.codec_engine)], [fake_lm(self.lm_engine, self.model)], **gateway)
