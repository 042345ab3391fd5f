"""Engines whose answers can be worked out by hand, and that fail, hang or are slow when told to.

    audio frame of mean m  ->  value v = round(1000 m)  ->  codes (v + k * n) % cardinality for codebook k, frame n
    codes c                ->  text token c[0] % text_cardinality, every pause head 1 or 0

So a frame's first code, and the text token that answers it, say what the frame was; the other codes say which frame
of the session it was, and a frame that is lost, doubled or given to another slot shows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.common.errors import EngineFailed
from services.common.framing import FRAME_SAMPLES
from services.common.slot_guard import SlotGuard
from services.lm.engine import History, LmStep


def frame_saying(value: int) -> NDArray[np.float32]:
    """Return audio, [1920], that FakeCodecEngine hears as this value, -1000 to 1000; it survives 16 bits."""
    return np.full(FRAME_SAMPLES, value / 1000, np.float32)


def fake_codes(value: int, frame: int, codebooks: int, cardinality: int) -> NDArray[np.uint16]:
    """Return the codes, [codebooks], that FakeCodecEngine gives a session's n-th frame, warm-up frames counted."""
    return ((value + np.arange(codebooks) * frame) % cardinality).astype(np.uint16)


class _Engine:
    """What both fakes have in common: slots, and misbehaving.

    fail_at_step: the step with this number, from 0, raises EngineFailed, and so does every later one.
    step_time_s: how long a step takes.
    steps, opened, closed: what was asked of the engine so far.
    """

    burst = 1

    def __init__(self, slots: int, width: int, dtype: type[np.generic]) -> None:
        self.slots = slots
        self.fail_at_step: int | None = None
        self.step_time_s = 0.0
        self.steps: list[NDArray[np.int64]] = []
        self.opened: list[tuple[int, Any]] = []
        self.closed: list[int] = []
        # The thread that made each call.
        self.threads: set[int] = set()
        # Set while a step hangs.
        self.hanging = threading.Event()
        self._running = threading.Event()
        self._running.set()
        self._guard = SlotGuard(slots, width, dtype)
        self._frames = np.zeros(slots, np.int64)

    def hang(self) -> None:
        """Let the next step wait until `resume`; for other threads to call."""
        self._running.clear()

    def resume(self) -> None:
        """End the hanging."""
        self._running.set()

    def close(self, slot: int, /) -> None:
        self.threads.add(threading.get_ident())
        self._guard.close(slot)
        self.closed.append(slot)

    def _open(self, slot: int, history: Any, frames: int) -> None:
        self.threads.add(threading.get_ident())
        self._guard.open(slot)
        self.opened.append((slot, history))
        self._frames[slot] = frames

    def _begin_step(self, slots: NDArray[np.int64], rows: NDArray[Any]) -> None:
        self.threads.add(threading.get_ident())
        self._guard.check_step(slots, rows)
        number = len(self.steps)
        self.steps.append(slots.copy())
        if not self._running.is_set():
            self.hanging.set()
            self._running.wait()
            self.hanging.clear()
        if self.step_time_s:
            time.sleep(self.step_time_s)
        if self.fail_at_step is not None and number >= self.fail_at_step:
            raise EngineFailed(f"the fake was told to fail at step {self.fail_at_step}")


class FakeCodecEngine(_Engine):
    """A CodecEngine; see the module for its codes."""

    def __init__(
        self, slots: int = 4, codebooks: int = 4, cardinality: int = 64, reach_frames: int = 1_000_000
    ) -> None:
        """reach_frames: what it says; its codes depend on the number of frames before, so on all of them."""
        super().__init__(slots, FRAME_SAMPLES, np.float32)
        self.reach_frames = reach_frames
        self.codebooks = codebooks
        self.cardinality = cardinality

    def open(self, slot: int, warmup_pcm: NDArray[np.float32] | None = None, /) -> None:
        self._open(slot, warmup_pcm, 0 if warmup_pcm is None else len(warmup_pcm))

    def step(self, slots: NDArray[np.int64], pcm: NDArray[np.float32], /) -> NDArray[np.uint16]:
        self._begin_step(slots, pcm)
        codes = np.empty((len(slots), self.codebooks), np.uint16)
        for row, (slot, frame) in enumerate(zip(slots, pcm, strict=True)):
            value = round(1000 * float(frame.mean(dtype=np.float64)))
            codes[row] = fake_codes(value, int(self._frames[slot]), self.codebooks, self.cardinality)
            self._frames[slot] += 1
        return codes


class FakeLmEngine(_Engine):
    """An LmEngine; see the module for its tokens. A new session's first step answers `initial_token`.

    pause_tokens: every pause head gives 1 in a step that says one of these, else 0.
    """

    def __init__(
        self,
        slots: int = 4,
        codebooks: int = 4,
        cardinality: int = 64,
        text_cardinality: int = 64,
        heads: int = 4,
        initial_token: int = 3,
        pause_tokens: Collection[int] = (),
    ) -> None:
        super().__init__(slots, codebooks, np.uint16)
        self.codebooks = codebooks
        self.cardinality = cardinality
        self.text_cardinality = text_cardinality
        self.heads = heads
        self.initial_token = initial_token
        self.pause_tokens = pause_tokens
        # Per slot, the codes since it was opened, the history's included.
        self.heard: list[list[NDArray[np.uint16]]] = [[] for _ in range(slots)]

    def open(self, slot: int, history: History | None = None, /) -> None:
        self._open(slot, history, 0 if history is None else len(history.text_tokens))
        self.heard[slot] = [] if history is None else list(history.codes)

    def step(self, slots: NDArray[np.int64], codes: NDArray[np.uint16], /) -> LmStep:
        self._begin_step(slots, codes)
        tokens = (codes[:, 0] % self.text_cardinality).astype(np.int32)
        for row, slot in enumerate(slots):
            if self._frames[slot] == 0:
                tokens[row] = self.initial_token
            else:
                self.heard[slot].append(codes[row].copy())
            self._frames[slot] += 1
        pauses = np.isin(tokens, list(self.pause_tokens)).astype(np.float32)
        return LmStep(tokens, np.repeat(pauses[:, None], self.heads, axis=1))
