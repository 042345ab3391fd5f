"""Plays a recording to the LiveKit adapter and checks what livekit gets: `python livekit_check.py HOST:PORT FILE`."""

from __future__ import annotations

import asyncio
import sys
import wave

from livekit import rtc

from dsm_stt_client.livekit import STT


async def check(address: str, path: str) -> None:
    """Raise AssertionError if something is not as it should be."""
    with wave.open(path) as file:
        rate_hz, samples = file.getframerate(), file.readframes(file.getnframes())
    step = rate_hz // 50 * 2
    pieces = [samples[start : start + step] for start in range(0, len(samples), step)]
    frames = [rtc.AudioFrame(piece, rate_hz, 1, len(piece) // 2) for piece in pieces]
    adapter = STT(address)
    whole = (await adapter.recognize(frames)).alternatives[0]
    async with adapter.stream() as stream:
        for frame in frames:
            stream.push_frame(frame)
        stream.end_input()
        events = [event async for event in stream]
    await adapter.aclose()
    kinds = [event.type.name for event in events if event.type.name != "RECOGNITION_USAGE"]
    assert kinds[0] == "START_OF_SPEECH", kinds
    assert kinds[-2:] == ["FINAL_TRANSCRIPT", "END_OF_SPEECH"], kinds
    assert "INTERIM_TRANSCRIPT" in kinds, kinds
    finals = [event.alternatives[0] for event in events if event.type.name == "FINAL_TRANSCRIPT"]
    assert " ".join(final.text for final in finals) == whole.text != "", (finals, whole.text)
    for final in finals:
        starts = [word.start_time for word in final.words]
        assert [str(word) for word in final.words] == final.text.split()
        assert starts == sorted(starts)
        assert final.start_time == starts[0]


if __name__ == "__main__":
    asyncio.run(check(sys.argv[1], sys.argv[2]))
    print("the LiveKit adapter gives what livekit wants")  # noqa: T201
