#!/usr/bin/env python
"""Transcribe the microphone, or a WAV file as if it were spoken now, word by word, until the end or Ctrl-C.

python live_microphone.py                            needs `pip install sounddevice`
python live_microphone.py --simulate speech.wav
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import wave
from collections.abc import AsyncIterator

from dsm_stt_client import (
    AsyncClient,
    AudioFormat,
    Result,
    SessionStarted,
    SpeechError,
    StreamConfig,
    Tls,
    Turn,
    TurnKind,
    TurnOptions,
)

PIECE_S = 0.08


async def microphone(rate_hz: int) -> AsyncIterator[bytes]:
    """Yield 16-bit mono samples as they are recorded."""
    import sounddevice  # noqa: PLC0415  # only this needs it

    loop, pieces = asyncio.get_running_loop(), asyncio.Queue[bytes]()

    def take(samples: object, *_: object) -> None:
        loop.call_soon_threadsafe(pieces.put_nowait, bytes(samples))  # type: ignore[call-overload]

    blocksize = round(rate_hz * PIECE_S)
    with sounddevice.RawInputStream(samplerate=rate_hz, blocksize=blocksize, channels=1, dtype="int16", callback=take):
        while True:
            yield await pieces.get()


async def simulated(file: wave.Wave_read) -> AsyncIterator[bytes]:
    """Yield the samples of a file, each piece when its last sample would have been spoken."""
    clock, sent_s = asyncio.get_running_loop(), 0.0
    began_s = clock.time()
    while piece := file.readframes(round(file.getframerate() * PIECE_S)):
        sent_s += PIECE_S
        await asyncio.sleep(began_s + sent_s - clock.time())
        yield piece


def format_of(file: wave.Wave_read) -> AudioFormat:
    """Read the header. Raises ValueError for samples other than of 16 bits."""
    if file.getsampwidth() != 2:
        raise ValueError(f"wanted 16-bit samples, got {8 * file.getsampwidth()}-bit ones")
    return AudioFormat(sample_rate_hz=file.getframerate(), channels=file.getnchannels())


async def listen(options: argparse.Namespace, audio_format: AudioFormat, audio: AsyncIterator[bytes]) -> None:
    """Print words as they come, a line a turn."""
    tls = Tls(ca_file=options.ca_file) if options.ca_file else options.tls
    config = StreamConfig(audio_format=audio_format, model=options.model, turns=TurnOptions())
    async with (
        AsyncClient(options.server, tls=tls, api_key=os.environ.get("DSM_API_KEY")) as client,
        client.stream(config, resume=True) as stream,
    ):
        stream.send_from(audio)
        async for event in stream:
            match event:
                case SessionStarted(resumed=False):
                    print(f"{event.model}: words come {event.delay_s:.2f} s after they are spoken", file=sys.stderr)
                case Result(is_final=True):
                    print(event.text, end=" ", flush=True)
                case Turn(kind=TurnKind.END):
                    print()
    print()


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulate", metavar="FILE", help="a WAV file with 16-bit samples instead of the microphone")
    parser.add_argument("--rate", type=int, default=24_000, help="of the microphone, Hz; default: %(default)s")
    parser.add_argument("--server", default="127.0.0.1:50051", metavar="HOST:PORT", help="default: %(default)s")
    parser.add_argument("--model", default="", help="default: the service's own")
    parser.add_argument("--tls", action="store_true", help="speak TLS, trusting the system's CAs")
    parser.add_argument("--ca-file", help="speak TLS, trusting the CAs in this PEM file")
    options = parser.parse_args()
    try:
        if options.simulate is None:
            asyncio.run(listen(options, AudioFormat(sample_rate_hz=options.rate), microphone(options.rate)))
            return 0
        with wave.open(options.simulate) as file:
            asyncio.run(listen(options, format_of(file), simulated(file)))
    except (SpeechError, OSError, ValueError, wave.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ImportError:
        print("error: the microphone needs `pip install sounddevice`; --simulate takes a file", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
