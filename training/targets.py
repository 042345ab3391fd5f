"""What the network should answer, frame by frame, from the words of a window; pure functions.

Indices follow the services: `text[0]` comes from the initial tokens, `text[n + 1]` is known with
frame n; a word that starts at s seconds has its boundary at index round(12.5 s) - 1 + delay_frames.
"""

import numpy as np
from numpy.typing import NDArray

from training.clips import Word
from training.vocabulary import BOUNDARY, PADDING, token_of

FRAME_RATE_HZ = 12.5
PHONE_RATE_HZ = 25.0
PAUSE_HORIZONS_S = (0.24, 0.48, 0.80, 1.60)
"""How long nothing was said when each pause head should find a pause."""
PAUSE, SPEECH = 0, 1
"""Classes of a pause head; the other four are never a target."""
_PHONES = """
    SIL AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH
"""
PHONES = _PHONES.split()
"""Silence and the phones of the aligner's dictionary (ARPABET)."""
_PHONE_IDS = {phone: index for index, phone in enumerate(PHONES)}


def boundary_index(start_s: float, delay_frames: int) -> int:
    """Return the index of the boundary token of a word that starts at start_s seconds."""
    return round(FRAME_RATE_HZ * start_s) - 1 + delay_frames


def text_targets(words: list[Word], steps: int, delay_frames: int) -> NDArray[np.int64]:
    """Return the text token of every step; words outside the vocabulary are padding.

    words: in order, times in seconds from the window's start. Returns [steps]. A word whose
    predecessor still speaks is put right after it.
    """
    tokens = np.full(steps, PADDING, np.int64)
    free = 0
    for word in words:
        token = token_of(word.word)
        if token is None:
            continue
        at = max(boundary_index(word.start_s, delay_frames), free)
        for offset, piece in enumerate((BOUNDARY, token)):
            if 0 <= at + offset < steps:
                tokens[at + offset] = piece
        free = at + 2
    return tokens


def phone_targets(phones: list[tuple[str, float, float]], frames: int) -> NDArray[np.int64]:
    """Return the phone in the middle of every 40 ms frame, 0 where nobody speaks: [frames]."""
    targets = np.zeros(frames, np.int64)
    for name, start_s, end_s in phones:
        first = int(np.ceil(start_s * PHONE_RATE_HZ - 0.5))
        last = int(np.ceil(end_s * PHONE_RATE_HZ - 0.5))
        targets[max(first, 0) : max(last, 0)] = _PHONE_IDS.get(name, 0)
    return targets


def pause_targets(spans: list[tuple[float, float]], steps: int) -> NDArray[np.int64]:
    """Return for every step and horizon whether nothing was said for that long.

    spans: (start_s, end_s) of all speech, inside or outside the vocabulary, in order. Step p has
    heard p frames. Returns [4, steps] of PAUSE or SPEECH. Before any speech it is a pause.
    """
    heard_s = np.arange(steps) / FRAME_RATE_HZ
    since_s = np.full(steps, np.inf)
    for start_s, end_s in spans:
        spoken = heard_s > start_s
        since_s[spoken] = np.maximum(heard_s[spoken] - end_s, 0.0)
    horizons = np.array(PAUSE_HORIZONS_S)[:, None]
    return np.where(since_s[None] >= horizons, PAUSE, SPEECH).astype(np.int64)
