"""What the tests send and how they read what comes, with the fake engines of the repository's own tests."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any, TypeVar

from dsm_stt_client import AudioFormat, Event, Result, StreamConfig, Turn
from tests.fakes.delayed import DAY, GO, NO, STOP, TO, YES
from tests.speech import saying

ErrorT = TypeVar("ErrorT", bound=Exception)

# A frame of 24 kHz LINEAR16: the fake engines hear frames, so audio is sent in whole ones.
FRAME_BYTES = 3840
FORMAT = AudioFormat(sample_rate_hz=24_000)

AUDIO = saying(40, {2: [YES], 10: [TO, DAY], 18: [STOP], 30: [GO]})
WORDS = [("yes", 0.16), ("today", 0.8), ("stop", 1.44), ("go", 2.4)]


def long_audio(count: int) -> tuple[bytes, list[tuple[str, float]]]:
    """Make audio with so many words, one every 0.48 s, some said twice in a row."""
    pieces = {"yes": [YES], "no": [NO], "today": [TO, DAY], "stop": [STOP], "go": [GO]}
    said = [list(pieces)[index * index % 5] for index in range(count)]
    starts = [2 + 6 * index for index in range(count)]
    audio = saying(6 * count + 12, {start: pieces[text] for start, text in zip(starts, said, strict=True)})
    return audio, [(text, round(start * 0.08, 2)) for start, text in zip(starts, said, strict=True)]


def config(**options: Any) -> StreamConfig:
    return StreamConfig(**{"audio_format": FORMAT, **options})


def frames(audio: bytes) -> list[bytes]:
    return [audio[start : start + FRAME_BYTES] for start in range(0, len(audio), FRAME_BYTES)]


async def streamed(items: Iterable[bytes]) -> AsyncIterator[bytes]:
    for item in items:
        yield item


async def gather(stream: AsyncIterable[Event]) -> list[Event]:
    return [event async for event in stream]


async def until(kind: type[ErrorT], stream: AsyncIterable[Event]) -> tuple[list[Event], ErrorT]:
    """The events before this error, and the error."""
    events: list[Event] = []
    try:
        async for event in stream:
            events.append(event)  # noqa: PERF401  # those before the error count
    except kind as error:
        return events, error
    raise AssertionError(f"no {kind.__name__} came")


def words(events: Iterable[Event]) -> list[tuple[str, float]]:
    """The final words, each with its start."""
    results = [event for event in events if isinstance(event, Result) and event.is_final]
    return [(word.text, round(word.start_s, 2)) for result in results for word in result.words]


def turns(events: Iterable[Event]) -> list[tuple[str, int]]:
    return [(event.kind.name, event.turn_index) for event in events if isinstance(event, Turn)]
