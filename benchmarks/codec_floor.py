"""What a step of the codec must move and do at least, counted on Mimi itself."""

from __future__ import annotations

import torch
from moshi.models import loaders
from moshi.utils.compile import no_compile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.floors import Floor
from services.codec.mimi_weights import load_encoder
from services.common.checkpoint import Checkpoint
from services.common.framing import FRAME_SAMPLES


def codec_floor(checkpoint: Checkpoint, rows: int, weight_bytes: float) -> Floor:
    """rows: sessions stepped, with full contexts. weight_bytes: a number's size.

    Operations are those of one frame by itself, so without its attention to what came before, which is little.
    """
    device = torch.device("cpu")
    model = load_encoder(checkpoint.mimi_weights, checkpoint.mimi_config, checkpoint.codebooks, device, torch.float32)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), no_compile(), counter:
        model.encode(torch.zeros(1, 1, FRAME_SAMPLES))
    transformer = (checkpoint.mimi_config or loaders._mimi_config)["transformer"]
    cached = 2 * transformer["num_layers"] * transformer["d_model"] * transformer["context"] * rows
    weights = sum(parameter.numel() for parameter in model.parameters())
    return Floor(weights * weight_bytes, int(cached * weight_bytes), counter.get_total_flops() * rows)
