"""What a session held is given back at its end, and not whenever Python next looks for cycles.

A session is a cycle of objects and holds 3 MB, mostly audio. Python's collector counts objects and not bytes: it let
hundreds of megabytes wait under load.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.fakes.delayed import YES
from tests.speech import Conversation, chunks, config, saying, transcribe, words
from tests.stack import FakeStack

AUDIO = saying(250, {2: [YES]})  # 20 s, 1.9 MB in float32
SESSIONS = 5
# The fakes keep a note of what they did.
MOST_LEFT_BYTES = 300_000


async def ends(stack: FakeStack) -> None:
    assert words(await transcribe(stack.stub, [config(), *chunks(AUDIO)]))


async def is_cancelled(stack: FakeStack) -> None:
    call = Conversation(stack.stub)
    await call.send(config(), *chunks(AUDIO))
    await call.until("result")
    call.call.cancel()
    await stack.all_slots_free()


@pytest.fixture
async def stack() -> AsyncIterator[FakeStack]:
    async with FakeStack(slots=1) as stack:
        await ends(stack)  # what is made once is not counted
        gc.collect()
        gc.disable()
        tracemalloc.start()
        try:
            yield stack
        finally:
            tracemalloc.stop()
            gc.enable()


@pytest.mark.parametrize("session", [ends, is_cancelled])
async def test_a_session_leaves_no_audio_behind(
    stack: FakeStack, session: Callable[[FakeStack], Awaitable[None]]
) -> None:
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(SESSIONS):
        await session(stack)
    after, _ = tracemalloc.get_traced_memory()
    assert (after - before) / SESSIONS < MOST_LEFT_BYTES
