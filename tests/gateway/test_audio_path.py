"""From bytes on the wire to frames in the codec: the same speech gives the same frames, however it is sent."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dsm_stt.speech.v1 import speech_pb2 as pb
from services.common.framing import SAMPLE_RATE_HZ
from services.gateway.audio import Encoding
from tests.fakes.engines import FakeCodecEngine
from tests.gateway.audio.signals import encode, snr_db, speech_like
from tests.speech import chunks, config, transcribe
from tests.stack import FakeModel, FakeStack, fake_codec

DURATION_S = 1.6


class HearingCodecEngine(FakeCodecEngine):
    """Keeps the frames it was given."""

    def __init__(self) -> None:
        super().__init__(1)
        self.heard: list[NDArray[np.float32]] = []

    def step(self, slots: NDArray[np.int64], pcm: NDArray[np.float32], /) -> NDArray[np.uint16]:
        self.heard.extend(pcm.copy())
        return super().step(slots, pcm)


async def frames_heard(encoding: Encoding, rate: int, channels: int, audio: bytes, chunk: int) -> NDArray[np.float32]:
    """Send audio through the whole service; returns the samples that reached the codec."""
    codec = HearingCodecEngine()
    stack = FakeStack(slots=1, model=FakeModel(suffix_samples=0))
    stack._start_codecs = [fake_codec(codec)]
    carries_its_rate = encoding is Encoding.OGG_OPUS
    audio_format = pb.AudioFormat(
        encoding=pb.AudioEncoding.Value(f"AUDIO_ENCODING_{encoding.name}"),
        sample_rate_hertz=0 if carries_its_rate else rate,
        channels=channels,
    )
    async with stack:
        await transcribe(stack.stub, [config(audio_format=audio_format), *chunks(audio, chunk)])
    return np.concatenate(codec.heard)


BYTES = {Encoding.LINEAR16: 2, Encoding.FLOAT32: 4, Encoding.MULAW: 1, Encoding.ALAW: 1, Encoding.OGG_OPUS: 1}
# Against the same speech as float at 24 kHz, below 3.4 kHz where 8 kHz has it too. What is lost is the encoding's.
LEAST_SNR_DB = {
    Encoding.LINEAR16: 55,
    Encoding.FLOAT32: 55,
    Encoding.MULAW: 25,
    Encoding.ALAW: 25,
    Encoding.OGG_OPUS: 10,
}


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("encoding", list(BYTES), ids=lambda encoding: encoding.name)
async def test_every_encoding_and_rate_reaches_the_codec_as_the_same_speech(
    encoding: Encoding, rate: int, channels: int
) -> None:
    if encoding is Encoding.OGG_OPUS and rate == 44_100:
        rate = 12_000  # Opus has no 44.1 kHz, but has this
    audio = encode(speech_like(DURATION_S, rate, seed=4), rate, channels, encoding)
    reference = speech_like(DURATION_S, SAMPLE_RATE_HZ, seed=4)
    second = rate * channels * BYTES[encoding]
    by_second = await frames_heard(encoding, rate, channels, audio, second)
    by_20_ms = await frames_heard(encoding, rate, channels, audio, max(1, second // 50))
    assert np.array_equal(by_second, by_20_ms)
    assert snr_db(reference, by_second[: len(reference)]) > LEAST_SNR_DB[encoding]


@pytest.mark.parametrize("encoding", list(BYTES), ids=lambda encoding: encoding.name)
async def test_chunks_of_one_sample_change_nothing(encoding: Encoding) -> None:
    audio = encode(speech_like(0.2, 8_000, seed=4), 8_000, 1, encoding)
    whole = await frames_heard(encoding, 8_000, 1, audio, len(audio))
    assert np.array_equal(await frames_heard(encoding, 8_000, 1, audio, BYTES[encoding]), whole)


async def test_24_khz_linear16_arrives_bit_for_bit() -> None:
    samples = np.random.default_rng(0).integers(-32768, 32768, 19_200).astype("<i2")
    heard = await frames_heard(Encoding.LINEAR16, 24_000, 1, samples.tobytes(), 999)
    assert np.array_equal(heard, samples.astype(np.float32) / 32768)
