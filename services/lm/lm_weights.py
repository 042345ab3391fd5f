"""The LM's weights, from moshi's loader to the shapes that a step wants.

33 embedding tables         -> one table, so that a row's input is one gather and sum
alpha of a norm             -> multiplied into the matrix behind it, where that is float32
1 / sqrt(head_dim)          -> multiplied into the queries' rows of the projection
text_linear, extra_heads    -> one matrix
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from moshi.models import loaders
from moshi.models.lm import LMModel
from moshi.modules.gating import ActivationGating
from moshi.modules.transformer import RMSNorm
from safetensors import SafetensorError
from torch import nn
from torch.nn import functional

from services.common.checkpoint import Checkpoint
from services.common.errors import CheckpointError
from services.neural.linear import Linear, Precision, prepare
from services.neural.norms import RmsNorm
from services.neural.transformer import Layer, Norm


@dataclass(frozen=True)
class LmWeights:
    """An LM, ready to be stepped.

    dtype: of what flows between the matrices.
    embeddings: [entries, dim], the text's first, then each codebook's; each ends with its initial token.
    output: from the transformer's last rows to [text_cardinality + heads * head_classes].
    """

    dtype: torch.dtype
    dim: int
    attention_heads: int
    context: int
    max_period: float
    codebooks: int
    cardinality: int
    text_cardinality: int
    heads: int
    head_classes: int
    embeddings: torch.Tensor
    layers: tuple[Layer, ...]
    output_norm: Norm
    output: Linear

    @property
    def head_dim(self) -> int:
        """Return the components of one attention head."""
        return self.dim // self.attention_heads


def load_weights(checkpoint: Checkpoint, device: torch.device, precision: Precision) -> LmWeights:
    """Load an LM. Raises CheckpointError if the weights do not fit the config or are not of a speech-to-text model."""
    # bfloat16 weights are taken as they are; what is computed from weights is computed in float32.
    model = load_model(checkpoint, device, torch.bfloat16 if precision is Precision.BFLOAT16 else torch.float32)
    try:
        return _pack(model, precision)
    except (AttributeError, AssertionError, IndexError) as error:
        raise CheckpointError(
            f"LM weights {checkpoint.lm_weights}: wanted rms_norm_f32, silu gating and rope, "
            f"as published speech-to-text models have: {error}"
        ) from error


def load_model(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> LMModel:
    """Load moshi's own model. Raises CheckpointError as `load_weights` does."""
    weights = checkpoint.lm_weights
    try:
        model = loaders.get_moshi_lm(weights, checkpoint.lm_config, device=device, dtype=dtype)
    except torch.OutOfMemoryError:
        raise
    except (OSError, SafetensorError, RuntimeError, LookupError, TypeError, ValueError, AssertionError) as error:
        reason = " ".join(str(error).split())[:500]
        raise CheckpointError(f"LM weights {weights} do not fit: {type(error).__name__}: {reason}") from error
    if model.dep_q or any(model.delays):
        raise CheckpointError(
            f"LM weights {weights}: wanted a speech-to-text model, with dep_q 0 and every delay 0; "
            f"the config says dep_q {model.dep_q} and delays up to {max(model.delays)}"
        )
    return model


@torch.no_grad()
def _pack(model: Any, precision: Precision) -> LmWeights:
    attention = model.transformer.layers[0].self_attn
    assert model.transformer.positional_embedding == "rope"
    assert attention.kv_repeat == 1
    extra: list[Any] = [head.weight for head in model.extra_heads]
    norm, alpha = _norm(model.out_norm, precision)
    bias = model.text_linear.bias
    if bias is not None:
        # The pause heads have none.
        bias = torch.cat([bias.float(), *(bias.new_zeros(len(head)).float() for head in extra)])
    embeddings = torch.cat([table.weight for table in (model.text_emb, *model.emb)])
    layers = []
    for layer in model.transformer.layers:
        layers.append(_layer(layer, precision))
        # A layer at a time, so that a model of gigabytes is never there twice.
        layer.to_empty(device="meta")
    return LmWeights(
        dtype=precision.activations(embeddings.device),
        dim=int(model.dim),
        attention_heads=int(attention.num_heads),
        context=int(attention.context),
        max_period=float(model.transformer.max_period),
        codebooks=int(model.num_audio_codebooks),
        cardinality=int(model.card),
        text_cardinality=int(model.text_card),
        heads=len(extra),
        head_classes=int(extra[0].shape[0]) if extra else 0,
        embeddings=embeddings,
        layers=tuple(layers),
        output_norm=norm,
        output=_prepare(torch.cat([model.text_linear.weight, *extra]), alpha, precision, bias),
    )


def _layer(layer: Any, precision: Precision) -> Layer:
    attention, gating = layer.self_attn, layer.gating
    assert isinstance(layer.layer_scale_1, nn.Identity)
    assert isinstance(gating, ActivationGating)
    assert gating.activation is functional.silu
    dim = int(attention.embed_dim)
    qkv = attention.in_projs[0].weight.float()
    scale = (dim // int(attention.num_heads)) ** -0.5
    qkv = torch.cat([qkv[:dim] * scale, qkv[dim:]])
    norm_1, alpha_1 = _norm(layer.norm1, precision)
    norm_2, alpha_2 = _norm(layer.norm2, precision)
    return Layer(
        norm_1=norm_1,
        qkv=_prepare(qkv, alpha_1, precision),
        output=_prepare(attention.out_projs[0].weight, None, precision),
        norm_2=norm_2,
        feed_forward=_Gated(
            _prepare(gating.linear_in.weight, alpha_2, precision), _prepare(gating.linear_out.weight, None, precision)
        ),
    )


class _Gated:
    """A feed-forward layer with silu gating."""

    def __init__(self, linear_in: Linear, linear_out: Linear) -> None:
        self._in, self._out = linear_in, linear_out

    def add_to(self, residual: torch.Tensor, x: torch.Tensor) -> None:
        """See Branch."""
        gate, value = self._in(x).chunk(2, dim=1)
        self._out.add_to(residual, functional.silu(gate, inplace=True).mul_(value))


def _norm(norm: Any, precision: Precision) -> tuple[RmsNorm, torch.Tensor | None]:
    """Return a norm, and what the matrix behind it has to be multiplied by."""
    assert isinstance(norm, RMSNorm)
    assert norm.dtype == torch.float32
    alpha = norm.alpha.float().flatten()
    if precision is Precision.BFLOAT16:
        return RmsNorm(len(alpha), norm.eps, alpha, alpha.device), None
    return RmsNorm(len(alpha), norm.eps, None, alpha.device), alpha * len(alpha) ** 0.5


def _prepare(
    weight: torch.Tensor, alpha: torch.Tensor | None, precision: Precision, bias: torch.Tensor | None = None
) -> Linear:
    weight = weight.detach().float()
    return prepare(weight if alpha is None else weight * alpha, precision, bias)
