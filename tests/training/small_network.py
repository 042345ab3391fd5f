"""A network of the embedded checkpoint's kind with few weights; shared by the tests of training."""

from typing import Any

from training.shape import LM_CONFIG, MIMI_CONFIG

CODEBOOKS, BINS, DIMENSION = 4, 16, 8


def small() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the configurations of Mimi and of the language model."""
    mimi = {
        **MIMI_CONFIG,
        "seanet": {**MIMI_CONFIG["seanet"], "n_filters": 2, "dimension": 24},
        "quantizer": {"dimension": DIMENSION, "n_q": CODEBOOKS, "bins": BINS, "input_dimension": 24,
                      "output_dimension": 24},
        "transformer": {**MIMI_CONFIG["transformer"], "d_model": 24, "num_heads": 2,
                        "num_layers": 1, "dim_feedforward": 32, "input_dimension": 24,
                        "output_dimensions": [24]},
    }  # fmt: skip
    lm = {**LM_CONFIG, "dim": 32, "num_heads": 2, "num_layers": 1, "card": BINS, "n_q": CODEBOOKS,
          "delays": [0] * (CODEBOOKS + 1)}  # fmt: skip
    return mimi, lm
