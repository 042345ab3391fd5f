"""Noise, tones and gaps in the rhythm of speech: what the seeded Mimi is scaled on, and what tests feed it."""

from __future__ import annotations

import math

import torch

from services.common.framing import FRAME_SAMPLES, SAMPLE_RATE_HZ

_FADE_SAMPLES = 240


def speech_like(frames: int, seed: int) -> torch.Tensor:
    """Make audio whose spectrum changes every 60 to 250 ms as that of speech does; the same for the same seed.

    Returns [frames * 1920] float32 at 24 kHz, within [-1, 1].
    """
    generator = torch.Generator().manual_seed(seed)
    samples = frames * FRAME_SAMPLES
    audio = torch.zeros(samples)
    start = 0
    while start < samples:
        length = int(_uniform(generator, 0.06, 0.25) * SAMPLE_RATE_HZ)
        kind = _uniform(generator, 0, 1)
        if kind > 0.15:
            sound = _voiced(generator, length) if kind > 0.45 else _hiss(generator, length)
            level = 10 ** (_uniform(generator, -36, -16) / 20)
            fade = (torch.arange(length) / _FADE_SAMPLES).clamp(max=1)
            sound = sound * fade * fade.flip(0) * level / sound.square().mean().sqrt()
            audio[start : start + length] = sound[: samples - start]
        start += length
    return audio.clamp(-1, 1)


def _voiced(generator: torch.Generator, length: int) -> torch.Tensor:
    """Return harmonics of a gliding pitch under three formants."""
    time_s = torch.arange(length) / SAMPLE_RATE_HZ
    pitch_hz = _uniform(generator, 80, 240) * (1 + _uniform(generator, -1, 1) * time_s)
    phase = 2 * math.pi * torch.cumsum(pitch_hz, 0) / SAMPLE_RATE_HZ
    formants_hz = [_uniform(generator, *limits) for limits in ((250, 900), (800, 2_500), (2_200, 3_800))]
    sound = torch.zeros(length)
    for harmonic in range(1, 20):
        frequency_hz = harmonic * float(pitch_hz[0])
        weight = 0.02 + sum(math.exp(-(((frequency_hz - formant) / 200) ** 2)) for formant in formants_hz)
        sound += weight / math.sqrt(harmonic) * torch.sin(harmonic * phase)
    return sound


def _hiss(generator: torch.Generator, length: int) -> torch.Tensor:
    """Return noise in one broad band."""
    spectrum = torch.fft.rfft(torch.randn(length, generator=generator))
    frequency_hz = torch.linspace(0, SAMPLE_RATE_HZ / 2, len(spectrum))
    centre_hz, width_hz = _uniform(generator, 1_000, 9_000), _uniform(generator, 400, 3_000)
    band = torch.exp(-(((frequency_hz - centre_hz) / width_hz) ** 2))
    hiss: torch.Tensor = torch.fft.irfft(spectrum * band, n=length)
    return hiss


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))
