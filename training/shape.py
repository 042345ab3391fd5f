"""Sizes of the embedded checkpoint and its configuration in moshi's keys; read by train and export."""

from typing import Any

from training.vocabulary import FIRST_WORD, WORDS

LATENT = 192
CODEBOOKS = 16
BINS = 256
QUANTIZER_DIMENSION = 96
LM_DIMENSION = 256
DELAY_FRAMES = 12
WORD_ENDS_MS = (160.0, 50.0, 160.0)
"""Where words end after their start: a base, so much a letter, so much after a pause; chosen by `training.ends`."""
TEXT_CARD = FIRST_WORD + len(WORDS) + 28
"""Pieces of the tokenizer: control symbols, whole words, then the letters it needs to be complete."""

MIMI_CONFIG: dict[str, Any] = {
    "sample_rate": 24000,
    "channels": 1,
    "frame_rate": 12.5,
    "seanet": {
        "channels": 1,
        "dimension": LATENT,
        "causal": True,
        "n_filters": 8,
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
        "ratios": [4, 5, 6, 8],
        "true_skip": True,
    },
    "quantizer": {
        "dimension": QUANTIZER_DIMENSION,
        "n_q": CODEBOOKS,
        "bins": BINS,
        "input_dimension": LATENT,
        "output_dimension": LATENT,
    },
    "transformer": {
        "d_model": LATENT,
        "num_heads": 6,
        "num_layers": 4,
        "causal": True,
        "layer_scale": 0.3,
        "context": 50,
        "conv_layout": True,
        "max_period": 10000,
        "gating": "none",
        "norm": "layer_norm",
        "positional_embedding": "rope",
        "dim_feedforward": 512,
        "input_dimension": LATENT,
        "output_dimensions": [LATENT],
    },
}

LM_CONFIG: dict[str, Any] = {
    "dim": LM_DIMENSION,
    "text_card": TEXT_CARD,
    "existing_text_padding_id": 3,
    "existing_text_end_padding_id": 0,
    "n_q": CODEBOOKS,
    "dep_q": 0,
    "card": BINS,
    "num_heads": 8,
    "num_layers": 4,
    "hidden_scale": 4.125,
    "causal": True,
    "layer_scale": None,
    "context": 64,
    "max_period": 100000,
    "gating": "silu",
    "norm": "rms_norm_f32",
    "positional_embedding": "rope",
    "delays": [0] * (CODEBOOKS + 1),
    "extra_heads_num_heads": 4,
    "extra_heads_dim": 6,
}
