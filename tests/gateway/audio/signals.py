"""Speech-like signals and their bytes in every encoding, for tests of the audio path and of whole services."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from numpy.typing import NDArray

from services.gateway.audio import Encoding

# FFmpeg's muxer and encoder, the encoder's sample format, and its bit rate.
_WRITERS = {
    Encoding.LINEAR16: ("s16le", "pcm_s16le", "s16", None),
    Encoding.FLOAT32: ("f32le", "pcm_f32le", "flt", None),
    Encoding.MULAW: ("mulaw", "pcm_mulaw", "s16", None),
    Encoding.ALAW: ("alaw", "pcm_alaw", "s16", None),
    Encoding.OGG_OPUS: ("ogg", "libopus", "flt", 64_000),
    Encoding.WAV: ("wav", "pcm_s16le", "s16", None),
    Encoding.FLAC: ("flac", "flac", "s16", None),
    Encoding.MP3: ("mp3", "libmp3lame", "fltp", 128_000),
}
_OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)


def speech_like(seconds: float, rate: int, seed: int = 0) -> NDArray[np.float32]:
    """Syllables of a gliding voice, mono [seconds * rate] in (-1, 1), all of it below 3.4 kHz.

    A function of time: two rates give samples of the same curve, so that resampling has something to be compared with.
    """
    rng = np.random.default_rng(seed)
    at = np.arange(round(seconds * rate)) / rate
    pitch_hz, depth_hz, glide_hz, syllable_hz = rng.uniform((110, 5, 0.3, 3), (150, 15, 0.7, 5))
    phase = 2 * np.pi * (pitch_hz * at - depth_hz / (2 * np.pi * glide_hz) * np.cos(2 * np.pi * glide_hz * at))
    formants_hz = rng.uniform((400, 1_000, 2_200), (800, 1_800, 2_900))
    voice = np.zeros_like(at)
    for harmonic in range(1, int(3_200 / (pitch_hz + depth_hz)) + 1):
        loudness = sum(1 / (1 + ((harmonic * pitch_hz - formant) / 150) ** 2) for formant in formants_hz)
        voice += (loudness + 0.05) * np.sin(harmonic * phase + rng.uniform(0, 2 * np.pi))
    envelope = (0.5 - 0.5 * np.cos(2 * np.pi * syllable_hz * at)) ** 2
    return (0.8 * envelope * voice / 12).astype(np.float32)


def encode(samples: NDArray[np.float32], rate: int, channels: int, encoding: Encoding) -> bytes:
    """Write samples as a caller would send them. samples: mono [n], on every channel then; or [n, channels]."""
    muxer, codec, sample_format, bit_rate = _WRITERS[encoding]
    return write(samples, rate, channels, muxer=muxer, codec=codec, sample_format=sample_format, bit_rate=bit_rate)


def write(
    samples: NDArray[np.float32],
    rate: int,
    channels: int,
    *,
    muxer: str,
    codec: str,
    sample_format: str,
    bit_rate: int | None = None,
    options: dict[str, str] | None = None,
) -> bytes:
    """Write samples with any of FFmpeg's muxers and encoders. options: the muxer's."""
    layout = "stereo" if channels == 2 else "mono"
    by_channel = samples if samples.ndim == 2 else np.repeat(samples[:, np.newaxis], channels, axis=1)
    written_rate = 48_000 if codec == "libopus" and rate not in _OPUS_RATES else rate
    into = io.BytesIO()
    with av.open(into, "w", format=muxer, options=options or {}) as container:
        stream = container.add_stream(codec, rate=written_rate)
        context = stream.codec_context
        assert isinstance(context, AudioCodecContext)
        context.layout = layout
        context.format = sample_format
        if bit_rate:
            context.bit_rate = bit_rate
        for frame in _frames(by_channel, rate, layout, sample_format, written_rate):
            container.mux(context.encode(frame))
        container.mux(context.encode(None))
    return into.getvalue()


def _frames(
    by_channel: NDArray[np.float32], rate: int, layout: str, sample_format: str, written_rate: int
) -> list[av.AudioFrame]:
    planar = sample_format.endswith("p")
    if sample_format.startswith("s16"):
        by_channel = np.clip(np.round(by_channel * 32_768), -32_768, 32_767).astype(np.int16)
    plain = "s16" if by_channel.dtype == np.int16 else "flt"
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(by_channel).reshape(1, -1), plain, layout)
    frame.sample_rate = rate
    frame.pts = 0
    frame.time_base = Fraction(1, rate)
    if not planar and plain == sample_format and rate == written_rate:
        return [frame]
    resampler = av.AudioResampler(format=sample_format, layout=layout, rate=written_rate)
    return [*resampler.resample(frame), *resampler.resample(None)]


def snr_db(reference: NDArray[np.float32], came: NDArray[np.float32]) -> float:
    """Signal to error in dB, over the samples that both have."""
    length = min(reference.size, came.size)
    error = reference[:length].astype(np.float64) - came[:length]
    return float(10 * np.log10(np.sum(reference[:length].astype(np.float64) ** 2) / max(np.sum(error**2), 1e-30)))
