"""Codes and text tokens of this machine's engines, whole: test_exactness.py runs it inside a container and outside.

stdin: float32 samples at 24 kHz, of whole frames. stdout: JSON. Nothing but what is in the images may be imported.
"""

from __future__ import annotations

import json
import sys

import numpy as np

from services.codec.encoder_engine import load as load_codec
from services.common.framing import FRAME_SAMPLES
from services.common.registry import resolve
from services.lm.lm_engine import load as load_lm


def main() -> None:
    frames = np.frombuffer(sys.stdin.buffer.read(), np.float32).reshape(-1, FRAME_SAMPLES)
    checkpoint = resolve("dsm-tiny-en")
    codec = load_codec(checkpoint, 1, "cpu", "float32", threads=1)
    lm = load_lm(checkpoint, 1, device="cpu", dtype="float32", threads=1)
    slot = np.zeros(1, np.int64)
    codec.open(0)
    lm.open(0)
    codes = [codec.step(slot, frame[None]) for frame in frames]
    # The first step takes no audio.
    tokens = [int(lm.step(slot, row).text_tokens[0]) for row in [np.zeros_like(codes[0]), *codes]]
    json.dump({"codes": np.concatenate(codes).tolist(), "tokens": tokens}, sys.stdout)


if __name__ == "__main__":
    main()
