"""Resampling of whole signals; used by the voices, the augmentation and the evaluation."""

import numpy as np
from numpy.typing import NDArray


def resampled(pcm: NDArray[np.float32], source_hz: float, target_hz: float) -> NDArray[np.float32]:
    """Return the signal at another rate (band-limited, soxr's medium quality)."""
    import soxr  # noqa: PLC0415 - pure pieces import this module without it

    if source_hz == target_hz:
        return pcm.astype(np.float32)
    out = soxr.resample(pcm.astype(np.float32), source_hz, target_hz, quality="MQ")
    return np.asarray(out, np.float32)
