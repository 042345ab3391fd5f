"""Many callers at once, each saying its script again and again, and the comparison of what they hear."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.callers import Heard, call, open_channel
from benchmarks.results import percentiles
from benchmarks.scripts import Script, script
from dsm_stt.speech.v1 import speech_pb2_grpc
from services.common.framing import FRAME_S

# Callers that share a connection share its flow control.
_CALLERS_PER_CHANNEL = 8
_RETRY_S = 2.0


@dataclass
class Load:
    """Callers by number, and every session that each of them has held."""

    scripts: list[Script]
    sessions: list[list[Heard]] = field(default_factory=list)
    # Calls that were told that there is no capacity now; their callers came back, as they were told.
    refused: int = 0

    @classmethod
    def of(cls, callers: int, audio_s: float, seed: int) -> Load:
        """Make up scripts of 0.5 to 1.5 times audio_s."""
        spread = [0.5 + number / max(1, callers - 1) for number in range(callers)]
        return cls([script(1000 * seed + number, share * audio_s) for number, share in enumerate(spread)])

    async def run(self, address: str, meanwhile: Callable[[], Awaitable[Any]] | None = None, speed: float = 1.0) -> Any:
        """Let every caller say its script once, or, with `meanwhile`, again and again until that is done."""
        self.sessions = [[] for _ in self.scripts]
        done = asyncio.Event()
        if meanwhile is None:
            done.set()
        channels = [open_channel(address) for _ in range(0, len(self.scripts), _CALLERS_PER_CHANNEL)]
        stubs = [speech_pb2_grpc.SpeechServiceStub(channel) for channel in channels]

        async def one(number: int) -> None:
            # Callers are not in step with each other.
            await asyncio.sleep(number * 0.37 % 3.0 if meanwhile else number * FRAME_S / len(self.scripts))
            while True:
                stub = stubs[number // _CALLERS_PER_CHANNEL]
                heard = await call(stub, self.scripts[number], speed)
                if "NO_CAPACITY" in heard.error and not done.is_set():
                    self.refused += 1
                    await asyncio.sleep(_RETRY_S)
                    continue
                self.sessions[number].append(heard)
                if done.is_set():
                    return
                if heard.error:
                    await asyncio.sleep(_RETRY_S)

        callers = [asyncio.create_task(one(number)) for number in range(len(self.scripts))]
        try:
            return await meanwhile() if meanwhile else None
        finally:
            done.set()
            await asyncio.gather(*callers)
            for channel in channels:
                await channel.close()

    def heard(self) -> list[Heard]:
        """Return all sessions."""
        return [heard for sessions in self.sessions for heard in sessions]


def figures(load: Load) -> dict[str, Any]:
    """Sum up a load: how much, how late, what failed."""
    heard = load.heard()
    return {
        "sessions": len(heard),
        "refused": load.refused,
        "audio_s": round(sum(session.audio_s for session in heard)),
        "words": sum(len(session.words) for session in heard),
        "errors": [session.error for session in heard if session.error],
        "lag_warnings": sum(session.lag_warnings for session in heard),
        "lag_s": percentiles([look.lag_s for session in heard for look in session.looks]),
        "word_late_s": percentiles([word.came_s - word.start_s for session in heard for word in session.words]),
    }


def compare(calm: Load, disturbed: Load) -> dict[str, Any]:
    """Compare every session of a disturbed run with the same caller's calm one, word by word and time by time."""
    different: list[dict[str, Any]] = []
    added_s: list[float] = []
    gaps_s: list[float] = []
    compared = 0
    for number, ((expected, *_), sessions) in enumerate(zip(calm.sessions, disturbed.sessions, strict=True)):
        for index, heard in enumerate(sessions):
            compared += 1
            if heard.transcript != expected.transcript or heard.flushes != expected.flushes or heard.error:
                different.append(_difference(number, index, expected, heard))
                continue
            late_s = [now.came_s - then.came_s for now, then in zip(heard.words, expected.words, strict=True)]
            added_s += late_s
            # A pause between two words that the calm run did not have.
            gaps_s += [after - before for before, after in zip([0.0, *late_s], late_s, strict=False)]
    return {
        "sessions_compared": compared,
        "sessions_different": len(different),
        "differences": different[:20],
        "words_late_more_than_calm_s": percentiles(added_s),
        "longest_gap_in_words_s": round(max(gaps_s, default=0.0), 3),
    }


def _difference(caller: int, index: int, expected: Heard, heard: Heard) -> dict[str, Any]:
    pairs = zip(expected.transcript, heard.transcript, strict=False)
    same = next((at for at, (then, now) in enumerate(pairs) if then != now), None)
    if same is None:
        same = min(len(expected.words), len(heard.words))
    return {
        "caller": caller,
        "session": index,
        "error": heard.error,
        "words": [len(expected.words), len(heard.words)],
        "flushes": [len(expected.flushes), len(heard.flushes)],
        "first_difference": same,
        "wanted": [tuple(word) for word in expected.words[same : same + 3]],
        "got": [tuple(word) for word in heard.words[same : same + 3]],
    }
