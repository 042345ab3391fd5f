"""The shapes of the seeded checkpoints, as the config.json and mimi_config.json they are written with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SeededArchitecture:
    """One checkpoint's configs; without a Mimi config it has the full-size Mimi."""

    lm: dict[str, Any]
    stt: dict[str, Any]
    mimi: dict[str, Any] | None = None


def _lm(
    *, dim: int, layers: int, heads: int, context: int, codebooks: int, card: int, text_card: int
) -> dict[str, Any]:
    """Return the keys that every speech-to-text config.json has, those of the absent depformer included."""
    return {
        "card": card,
        "n_q": codebooks,
        "dep_q": 0,
        "delays": [0] * (codebooks + 1),
        "dim": dim,
        "text_card": text_card,
        "existing_text_padding_id": 3,
        "num_heads": heads,
        "num_layers": layers,
        "hidden_scale": 4.125,
        "causal": True,
        "layer_scale": None,
        "context": context,
        "max_period": 100_000.0,
        "gating": "silu",
        "norm": "rms_norm_f32",
        "positional_embedding": "rope",
        "depformer_dim": 1024,
        "depformer_num_heads": 16,
        "depformer_num_layers": 6,
        "depformer_dim_feedforward": None,
        "depformer_multi_linear": True,
        "depformer_pos_emb": "none",
        "depformer_weights_per_step": True,
        "conditioners": {},
        "cross_attention": False,
    }


def _mimi(
    *, filters: int, dimension: int, layers: int, heads: int, feed_forward: int, context: int, codebooks: int, card: int
) -> dict[str, Any]:
    """Return a Mimi config; context is in frames of 25 Hz. A codebook entry has half the latents' dimension."""
    return {
        "sample_rate": 24_000,
        "channels": 1,
        "frame_rate": 12.5,
        "seanet": {
            "channels": 1,
            "dimension": dimension,
            "causal": True,
            "n_filters": filters,
            "n_residual_layers": 1,
            "activation": "ELU",
            "compress": 2,
            "dilation_base": 2,
            "disable_norm_outer_blocks": 0,
            "kernel_size": 7,
            "residual_kernel_size": 3,
            "last_kernel_size": 3,
            "norm": "none",
            "pad_mode": "constant",
            "ratios": [8, 6, 5, 4],
            "true_skip": True,
        },
        "quantizer": {
            "dimension": dimension // 2,
            "n_q": codebooks,
            "bins": card,
            "input_dimension": dimension,
            "output_dimension": dimension,
        },
        "transformer": {
            "d_model": dimension,
            "num_heads": heads,
            "num_layers": layers,
            "causal": True,
            "layer_scale": 0.01,
            "context": context,
            "conv_layout": True,
            "max_period": 10_000,
            "gating": "none",
            "norm": "layer_norm",
            "positional_embedding": "rope",
            "dim_feedforward": feed_forward,
            "input_dimension": dimension,
            "output_dimensions": [dimension],
        },
    }


def _stt(*, delay_s: float, delay_frames: int, prefix_s: float = 0.0) -> dict[str, Any]:
    return {
        "audio_delay_seconds": delay_s,
        "audio_silence_prefix_seconds": prefix_s,
        "delay_frames": delay_frames,
        "language_codes": ["en"],
        "trained": False,
    }


_PAUSE_HEADS = {"extra_heads_num_heads": 4, "extra_heads_dim": 6}

ARCHITECTURES = {
    # For tests: steps in under a millisecond, and contexts of 1 to 2 s, so that the rings of the caches wrap early.
    # Mimi has more codebooks than the LM reads.
    "mini": SeededArchitecture(
        lm=_lm(dim=64, layers=2, heads=4, context=24, codebooks=6, card=64, text_card=120) | _PAUSE_HEADS,
        stt=_stt(delay_s=0.48, delay_frames=6) | {"pause_horizons_ms": [500, 1_000, 2_000, 3_000]},
        mimi=_mimi(filters=4, dimension=32, layers=2, heads=2, feed_forward=64, context=20, codebooks=8, card=64),
    ),
    # The size of the embedded model.
    "tiny": SeededArchitecture(
        lm=_lm(dim=192, layers=4, heads=6, context=75, codebooks=8, card=256, text_card=232) | _PAUSE_HEADS,
        stt=_stt(delay_s=0.8, delay_frames=10) | {"pause_horizons_ms": [240, 480, 960, 1_920]},
        mimi=_mimi(filters=8, dimension=128, layers=2, heads=4, feed_forward=384, context=50, codebooks=8, card=256),
    ),
    # The two published models, for benchmarks.
    "1b": SeededArchitecture(
        lm=_lm(dim=2048, layers=16, heads=16, context=750, codebooks=32, card=2048, text_card=8000) | _PAUSE_HEADS,
        stt=_stt(delay_s=0.5, delay_frames=6) | {"pause_horizons_ms": [500, 1_000, 2_000, 3_000]},
    ),
    "2.6b": SeededArchitecture(
        lm=_lm(dim=2048, layers=48, heads=32, context=375, codebooks=32, card=2048, text_card=4000),
        stt=_stt(delay_s=2.5, delay_frames=32, prefix_s=1.0),
    ),
}
