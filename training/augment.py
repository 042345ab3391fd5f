"""Makes clean synthetic speech sound like many speakers, rooms, lines and devices.

All functions take and return 24 kHz mono float32; none changes the number of samples but
`warped`, which returns the factor by which times shrink.
"""

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from training.clips import SAMPLE_RATE
from training.resampling import resampled

Signal = NDArray[np.float32]


def warped(pcm: Signal, random: np.random.Generator) -> tuple[Signal, float]:
    """Return the speech faster and higher or slower and lower, and the factor (0.84 to 1.19).

    Resampling moves pitch and formants together, as a longer or shorter vocal tract does.
    """
    factor = float(np.clip(random.normal(1.0, 0.09), 0.84, 1.19))
    at = np.arange(int(len(pcm) / factor), dtype=np.float32) * np.float32(factor)
    first = at.astype(np.int32)
    rest = at - first
    following = np.minimum(first + 1, len(pcm) - 1)
    return (pcm[first] * (1 - rest) + pcm[following] * rest).astype(np.float32), factor


def tilted(pcm: Signal, random: np.random.Generator) -> Signal:
    """Return the speech with a random spectral tilt and one random resonance or notch."""
    pole = random.uniform(-0.5, 0.6)
    out = scipy.signal.lfilter([1.0 - abs(pole)], [1.0, -pole], pcm)
    if random.random() < 0.5:
        frequency = np.exp(random.uniform(np.log(200), np.log(7000)))
        numerator, denominator = _peak(frequency, random.uniform(-10, 10), random.uniform(0.7, 2))
        out = scipy.signal.lfilter(numerator, denominator, out)
    return np.asarray(out, np.float32)


def telephone(pcm: Signal, random: np.random.Generator) -> Signal:
    """Return the speech through an 8 kHz line, half of the time with 8-bit mu-law."""
    narrow = resampled(pcm, SAMPLE_RATE, 8000)
    if random.random() < 0.5:
        low = scipy.signal.butter(2, random.uniform(150, 350), "highpass", fs=8000)
        narrow = np.asarray(scipy.signal.lfilter(*low, narrow), np.float32)
    if random.random() < 0.5:
        coded = np.sign(narrow) * np.log1p(255 * np.abs(np.clip(narrow, -1, 1))) / np.log(256)
        coded = np.round(coded * 127) / 127
        narrow = np.sign(coded) * (np.power(256.0, np.abs(coded)) - 1) / 255
    return _fitted(resampled(narrow.astype(np.float32), 8000, SAMPLE_RATE), len(pcm))


def narrowed(pcm: Signal, random: np.random.Generator) -> Signal:
    """Return the speech without what is above a random 3.4 to 11 kHz, as at other sample rates."""
    cutoff = random.choice([3400, 3800, 5500, 7600, 7900, 10500])
    filtered = scipy.signal.sosfilt(_LOW_PASS[int(cutoff)], pcm)
    return np.asarray(filtered, np.float32)


def reverberant(pcm: Signal, random: np.random.Generator) -> Signal:
    """Return the speech in a small room: decaying noise after the direct sound."""
    length = int(random.uniform(0.04, 0.25) * SAMPLE_RATE)
    decay = np.exp(-np.arange(length) * 6.9 / length)
    tail = random.normal(0, 1, length) * decay
    tail *= random.uniform(0.05, 0.5) / np.sqrt((tail**2).sum())
    tail[0] = 1.0
    out = scipy.signal.oaconvolve(pcm, tail.astype(np.float32))[: len(pcm)]
    return np.asarray(out, np.float32)


def noise(samples: int, random: np.random.Generator) -> Signal:
    """Return coloured noise of unit deviation, sometimes with a hum of the mains."""
    white = random.standard_normal(samples, dtype=np.float32)
    kind = random.random()
    if kind < 0.3:
        out = white
    elif kind < 0.8:
        pole = random.uniform(0.5, 0.99)
        out = scipy.signal.lfilter([1.0], [1.0, -pole], white).astype(np.float32)
    else:
        frequency = np.exp(random.uniform(np.log(150), np.log(5000)))
        out = scipy.signal.lfilter(*_peak(frequency, 20.0, 1.0), white).astype(np.float32)
    out = out / (out.std() + 1e-9)
    if random.random() < 0.2:
        at = np.arange(samples, dtype=np.float32) / SAMPLE_RATE
        mains = random.choice([50.0, 60.0])
        for harmonic in range(1, 5):
            level = random.uniform(0, 1.0 / harmonic)
            out = out + level * np.sin(2 * np.pi * mains * harmonic * at + random.uniform(0, 6))
    if random.random() < 0.3:
        knots = random.uniform(0.1, 1.0, samples // 12_000 + 2)
        out = out * np.interp(np.arange(samples) / 12_000, np.arange(len(knots)), knots)
    return np.asarray(out, np.float32)


def recorded(pcm: Signal, random: np.random.Generator) -> Signal:
    """Return a whole window as some device would have recorded it: room, line, noise, level."""
    if random.random() < 0.25:
        pcm = reverberant(pcm, random)
    line = random.random()
    peak = float(np.abs(pcm).max(initial=0.0))
    noise_db = random.uniform(-75, -48) if random.random() < 0.6 else random.uniform(-48, -24)
    if random.random() < 0.06:
        noise_db = -120.0
    level = 10 ** (noise_db / 20) * (peak if peak > 0 else 0.5)
    before_line = random.random() < 0.5
    if before_line:
        pcm = pcm + level * noise(len(pcm), random)
    if line < 0.28:
        pcm = telephone(pcm, random)
    elif line < 0.5:
        pcm = narrowed(pcm, random)
    if not before_line:
        pcm = pcm + level * noise(len(pcm), random)
    peak = float(np.abs(pcm).max(initial=1e-9))
    gain = np.exp(random.uniform(np.log(0.06), np.log(0.98))) / peak
    if peak * gain > 0.9 and random.random() < 0.1:
        gain *= 1.5
    return np.asarray(np.clip(pcm * gain, -1, 1), np.float32)


def _peak(frequency: float, gain_db: float, quality: float) -> tuple[Signal, Signal]:
    """Return the peaking filter of the Audio EQ Cookbook (Bristow-Johnson)."""
    amplitude = 10 ** (gain_db / 40)
    omega = 2 * np.pi * frequency / SAMPLE_RATE
    alpha = np.sin(omega) / (2 * quality)
    b = np.array([1 + alpha * amplitude, -2 * np.cos(omega), 1 - alpha * amplitude])
    a = np.array([1 + alpha / amplitude, -2 * np.cos(omega), 1 - alpha / amplitude])
    return b / a[0], a / a[0]


def _fitted(pcm: Signal, samples: int) -> Signal:
    return np.pad(pcm, (0, max(0, samples - len(pcm))))[:samples]


_LOW_PASS = {
    cutoff: scipy.signal.butter(6, cutoff, fs=SAMPLE_RATE, output="sos").astype(np.float32)
    for cutoff in (3400, 3800, 5500, 7600, 7900, 10500)
}
