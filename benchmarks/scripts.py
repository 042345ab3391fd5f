"""What callers say: the recordings that come with the repository, in an order and with pauses made up from a seed."""

from __future__ import annotations

import random
import wave
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import soxr
from google.protobuf.duration_pb2 import Duration

from benchmarks.results import ROOT
from dsm_stt.speech.v1 import speech_pb2 as pb
from services.common.framing import FRAME_NS, FRAME_S

SAMPLES = ROOT / "models" / "dsm-tiny-en" / "samples"
RATE_HZ = 16_000


@dataclass(frozen=True)
class Script:
    """What one caller sends; messages other than audio take no time. message_s: of audio in a message."""

    requests: Iterable[pb.StreamingRecognizeRequest]
    audio_s: float
    message_s: float = FRAME_S


@dataclass(frozen=True)
class Sound:
    """How a caller's device cuts and samples its audio, and whether it asks for a VAD event a frame."""

    rate_hz: int = RATE_HZ
    message_ms: int = 80
    vad: bool = False

    @property
    def name(self) -> str:
        """Name it for tables."""
        return f"{self.rate_hz // 1000} kHz, {self.message_ms} ms messages{', VAD' if self.vad else ''}"


def script(seed: int, audio_s: float) -> Script:
    """Make up a script with, for some callers, flushes, context resets and interim results."""
    chance = random.Random(seed)
    audio = speech(chance, audio_s, RATE_HZ)
    results = pb.ResultOptions(interim_results=chance.random() < 0.3)
    requests = [pb.StreamingRecognizeRequest(config=audio_config(results))]
    flushes = chance.random() < 0.4
    for number, piece in enumerate(pieces(audio, round(RATE_HZ * FRAME_S) * 2)):
        requests.append(pb.StreamingRecognizeRequest(audio=piece))
        if flushes and chance.random() < 0.01:
            flush = pb.Flush(flush_id=str(number), reset_context=chance.random() < 0.3)
            requests.append(pb.StreamingRecognizeRequest(flush=flush))
    return Script(requests, len(audio) / 2 / RATE_HZ)


def talk(seed: int, audio_s: float, sound: Sound | None = None) -> Script:
    """Make up a script of audio alone, as a device sends it."""
    sound = sound or Sound()
    audio = speech(random.Random(seed), audio_s, sound.rate_hz)
    results = pb.ResultOptions(vad_interval=Duration(nanos=FRAME_NS)) if sound.vad else None
    message_s = sound.message_ms / 1000
    requests = [
        pb.StreamingRecognizeRequest(config=audio_config(results, sound.rate_hz)),
        *(pb.StreamingRecognizeRequest(audio=piece) for piece in pieces(audio, round(sound.rate_hz * message_s) * 2)),
    ]
    return Script(requests, len(audio) / 2 / sound.rate_hz, message_s)


def audio_config(results: pb.ResultOptions | None = None, rate_hz: int = RATE_HZ) -> pb.RecognitionConfig:
    """Make the config of a session that sends 16-bit mono audio."""
    audio_format = pb.AudioFormat(encoding=pb.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=rate_hz)
    return pb.RecognitionConfig(audio_format=audio_format, results=results)


@cache
def recordings(rate_hz: int = RATE_HZ) -> list[bytes]:
    """Read the recordings, as 16-bit samples at a rate."""
    found = []
    for path in sorted(SAMPLES.glob("*.wav")):
        with wave.open(str(path)) as recording:
            assert (recording.getframerate(), recording.getnchannels(), recording.getsampwidth()) == (RATE_HZ, 1, 2)
            samples = np.frombuffer(recording.readframes(recording.getnframes()), "<i2")
        found.append(samples.tobytes() if rate_hz == RATE_HZ else soxr.resample(samples, RATE_HZ, rate_hz).tobytes())
    return found


def speech(chance: random.Random, audio_s: float, rate_hz: int) -> bytes:
    """Make up audio_s seconds of recordings and pauses, as 16-bit samples."""
    audio = bytearray()
    while len(audio) < audio_s * rate_hz * 2:
        audio += chance.choice(recordings(rate_hz))
        audio += bytes(2 * round(rate_hz * chance.uniform(0.1, 1.5)))
    return bytes(audio[: round(audio_s * rate_hz) * 2])


def pieces(audio: bytes, piece_bytes: int) -> Iterator[bytes]:
    """Cut audio into messages, the last one shorter."""
    for start in range(0, len(audio), piece_bytes):
        yield audio[start : start + piece_bytes]
