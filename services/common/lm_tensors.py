"""Which tensors an LM of a given config.json has, by name and shape: moshi 0.2.13's LMModel without a depformer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Names that older exports and the candle code use; moshi's loader takes both.
_OLD_NAMES = (
    (re.compile(r"\.self_attn\.in_proj_weight$"), ".self_attn.in_projs.0.weight"),
    (re.compile(r"\.self_attn\.in_proj\.weight$"), ".self_attn.in_projs.0.weight"),
    (re.compile(r"\.self_attn\.out_proj\.weight$"), ".self_attn.out_projs.0.weight"),
)


def lm_tensors(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return every tensor of the LM with its shape, in the order of the model."""
    dim = int(config["dim"])
    text_card = int(config["text_card"])
    tensors: dict[str, tuple[int, ...]] = {}
    for index in range(int(config["n_q"])):
        tensors[f"emb.{index}.weight"] = (int(config["card"]) + 1, dim)
    tensors["text_emb.weight"] = (text_card + 1, dim)
    tensors["text_linear.weight"] = (text_card, dim)
    if config.get("bias_proj"):
        tensors["text_linear.bias"] = (text_card,)
    if not config.get("depformer_multi_linear"):
        # moshi makes this projection even where there is no depformer to use it.
        tensors["depformer_in.0.weight"] = (int(config.get("depformer_dim", 256)), dim)
    hidden = gating_hidden(dim, float(config.get("hidden_scale", 4)))
    for index in range(int(config["num_layers"])):
        layer = f"transformer.layers.{index}"
        tensors[f"{layer}.self_attn.out_projs.0.weight"] = (dim, dim)
        tensors[f"{layer}.self_attn.in_projs.0.weight"] = (3 * dim, dim)
        tensors[f"{layer}.norm1.alpha"] = (1, 1, dim)
        tensors[f"{layer}.norm2.alpha"] = (1, 1, dim)
        tensors[f"{layer}.gating.linear_in.weight"] = (2 * hidden, dim)
        tensors[f"{layer}.gating.linear_out.weight"] = (dim, hidden)
    tensors["out_norm.alpha"] = (1, 1, dim)
    for index in range(int(config.get("extra_heads_num_heads") or 0)):
        tensors[f"extra_heads.{index}.weight"] = (int(config.get("extra_heads_dim", 6)), dim)
    return tensors


def gating_hidden(dim: int, hidden_scale: float) -> int:
    """Return the width of a gated feed-forward layer, as moshi's ActivationGating computes it."""
    feed_forward = int(hidden_scale * dim)
    return (21 * dim) // 8 if feed_forward == 4 * dim else (2 * feed_forward) // 3


def new_name(name: str) -> str:
    """Return today's name of a tensor that may have an old one."""
    for pattern, replacement in _OLD_NAMES:
        name = pattern.sub(replacement, name)
    return name
