"""Corrects aligned word edges that touch silence by the energy of the signal; used by `align`."""

import numpy as np
from numpy.typing import NDArray

STEP_S = 0.005
RANGE_DB = 42.0
"""A sound counts as speech down to this far below the loudest part of the word's neighbourhood."""
FLOOR_MARGIN_DB = 8.0
LONGEST_MOVE_S = 0.25

Span = tuple[float, float]


def levels_db(pcm: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """Return the level of every 10 ms window, one each 5 ms, in dB of full scale."""
    step = int(STEP_S * sample_rate)
    steps = len(pcm) // step
    power = (pcm[: steps * step].astype(np.float64) ** 2).reshape(steps, step).mean(1)
    smooth = np.convolve(power, [0.5, 0.5], mode="same")
    return np.asarray(10 * np.log10(smooth + 1e-12))


def corrected(spans: list[Span], pcm: NDArray[np.float32], sample_rate: int) -> list[Span]:
    """Return the word spans with edges moved to where the sound begins and ends.

    Only edges with at least 30 ms of non-speech beside them move, by at most 0.25 s and never
    into a neighbour. spans: seconds, in order. Raises nothing; silence leaves spans as they are.
    """
    levels = levels_db(pcm, sample_rate)
    if not len(levels):
        return spans
    quiet = float(np.percentile(levels, 5))
    length_s = len(levels) * STEP_S
    out: list[Span] = []
    for index, (start_s, end_s) in enumerate(spans):
        before_s = spans[index - 1][1] if index else 0.0
        after_s = spans[index + 1][0] if index + 1 < len(spans) else length_s
        first, last = int(start_s / STEP_S), min(int(end_s / STEP_S), len(levels))
        peak = float(levels[first : max(last, first + 1)].max(initial=-120.0))
        threshold = max(peak - RANGE_DB, min(quiet + FLOOR_MARGIN_DB, peak - 15.0))
        loud = levels >= threshold
        moved_start, moved_end = start_s, end_s
        if start_s - before_s >= 0.03 or index == 0:
            moved_start = _edge(loud, first, -1, int(before_s / STEP_S)) * STEP_S
        if after_s - end_s >= 0.03 or index + 1 == len(spans):
            moved_end = _edge(loud, last - 1, 1, int(after_s / STEP_S) - 1) * STEP_S + STEP_S
        if moved_end - moved_start < 0.05:
            moved_start, moved_end = start_s, end_s
        out.append((round(moved_start, 3), round(moved_end, 3)))
    return out


def _edge(loud: NDArray[np.bool_], at: int, outward: int, limit: int) -> int:
    """Walk outward while the sound goes on, or inward to where it begins."""
    at = int(np.clip(at, 0, len(loud) - 1))
    moves = int(LONGEST_MOVE_S / STEP_S)
    if loud[at]:
        for _ in range(moves):
            following = at + outward
            if (following - limit) * outward > 0 or not 0 <= following < len(loud):
                break
            if not loud[following]:
                # A closure of a stop is short; sound beyond it belongs to the word.
                beyond = loud[following : following + 8 * outward : outward]
                if outward < 0 or not beyond[:8].any():
                    break
            at = following
        while not loud[at]:
            at -= outward
        return at
    for _ in range(moves):
        if loud[at]:
            return at
        at -= outward
        if not 0 <= at < len(loud):
            break
    return int(np.clip(at, 0, len(loud) - 1))
