"""Mimi's encoder from Mimi's weights, without the half that decodes; `encoder_weights` calls it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from moshi.models import loaders
from moshi.models.compression import MimiModel
from moshi.modules.seanet import SEANetEncoder
from moshi.modules.transformer import ProjectedTransformer
from moshi.quantization.vq import SplitResidualVectorQuantizer
from safetensors import SafetensorError, safe_open

from services.common.errors import CheckpointError
from services.common.framing import FRAME_SAMPLES, SAMPLE_RATE_HZ

# What decodes. Dropping it halves the parameters, and these tensors are never read from the file.
_DECODER = ("decoder.", "decoder_transformer.", "upsample.")


def load_encoder(
    weights: Path, config: Mapping[str, Any] | None, codebooks: int, device: torch.device, dtype: torch.dtype
) -> MimiModel:
    """Load a MimiModel that only encodes.

    config: the Mimi config; None is the full-size Mimi. dtype: of everything but the quantizer, which stays float32
    because torch.cdist, its distance, knows no shorter float.
    Raises CheckpointError if the file cannot be read or does not fit the config.
    """
    try:
        # Without memory: the tensors of the file become the model's.
        with torch.device("meta"):
            model = _encoder(loaders._mimi_config if config is None else config)
        model.load_state_dict(_read(weights, device, dtype), assign=True)
        model.set_num_codebooks(codebooks)
    except torch.OutOfMemoryError:
        raise
    except (OSError, SafetensorError, RuntimeError, LookupError, TypeError, ValueError, AssertionError) as error:
        reason = " ".join(str(error).split())[:500]
        raise CheckpointError(f"Mimi weights {weights} do not fit: {type(error).__name__}: {reason}") from error
    if (model.sample_rate, model.frame_size) != (SAMPLE_RATE_HZ, FRAME_SAMPLES):
        raise CheckpointError(
            f"Mimi weights {weights}: wanted frames of {FRAME_SAMPLES} samples at {SAMPLE_RATE_HZ} Hz, "
            f"the config says {model.frame_size} at {model.sample_rate}"
        )
    return model.eval()


def _encoder(config: Mapping[str, Any]) -> MimiModel:
    """Build the model of `loaders.get_mimi`, with no decoder."""
    encoder = SEANetEncoder(**config["seanet"])
    model = MimiModel(
        encoder,
        None,  # type: ignore[arg-type]  # only `decode` would use it
        SplitResidualVectorQuantizer(**config["quantizer"]),
        channels=config["channels"],
        sample_rate=config["sample_rate"],
        frame_rate=config["frame_rate"],
        encoder_frame_rate=config["sample_rate"] / encoder.hop_length,
        causal=True,
        resample_method="conv",
        encoder_transformer=ProjectedTransformer(**config["transformer"]),
        decoder_transformer=None,
    )
    if hasattr(model, "upsample"):
        del model.upsample
    return model


def _read(weights: Path, device: torch.device, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    with safe_open(weights, framework="pt", device=str(device)) as file:  # type: ignore[no-untyped-call]
        names = [name for name in file.keys() if not name.startswith(_DECODER)]  # noqa: SIM118 – no mapping
        return {
            name: file.get_tensor(name).to(torch.float32 if name.startswith("quantizer.") else dtype) for name in names
        }
