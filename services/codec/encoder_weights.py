"""Mimi's encoder from moshi's loader to the shapes that a step wants: time before channels, convolutions as matrices.

convolution [out, in, kernel]  -> matrix [out, kernel * in] over windows of the audio before it
layer scale                    -> multiplied into the matrix before it
codebook                       -> matrix and bias, so that the nearest entry is the largest product
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from moshi.models.compression import MimiModel
from moshi.modules.conv import StreamingConv1d
from moshi.modules.seanet import SEANetResnetBlock
from moshi.modules.transformer import LayerScale
from torch import nn
from torch.nn import functional

from services.codec.mimi_weights import load_encoder
from services.common.checkpoint import Checkpoint
from services.common.errors import CheckpointError
from services.neural.linear import Linear, Precision, prepare
from services.neural.norms import LayerNorm
from services.neural.transformer import Layer


@dataclass(frozen=True)
class Convolution:
    """A causal convolution over time. past: samples of the past that a call needs, of channels each."""

    kernel: int
    stride: int
    dilation: int
    channels: int
    past: int
    # Where its past begins in a slot's state.
    offset: int
    replicates: bool
    matrix: Linear


@dataclass(frozen=True)
class Residual:
    """x + block(x), where every convolution of the block comes after an ELU."""

    block: tuple[Convolution, ...]


@dataclass(frozen=True)
class Codebook:
    """nearest: x -> [rows, entries], largest for the nearest entry. entries: [entries, dim]."""

    nearest: Linear
    entries: torch.Tensor


@dataclass(frozen=True)
class Quantizer:
    """Residual codebooks behind a projection."""

    projection: Linear
    codebooks: tuple[Codebook, ...]


@dataclass(frozen=True)
class EncoderWeights:
    """Mimi's encoder, ready to be stepped.

    stages: the first without an ELU before it; every other convolution has one. state: numbers of the past that a
    slot keeps for its convolutions.
    """

    device: torch.device
    dtype: torch.dtype
    dim: int
    attention_heads: int
    context: int
    max_period: float
    frame_positions: int
    codebooks: int
    cardinality: int
    stages: tuple[Convolution | Residual, ...]
    layers: tuple[Layer, ...]
    downsample: Convolution
    quantizers: tuple[Quantizer, ...]
    state: int

    @property
    def reach_frames(self) -> int:
        """Frames before a frame that its codes depend on: every layer looks back from where the next one does."""
        samples, hop = 0, 1
        for stage in self.stages:
            for convolution in stage.block if isinstance(stage, Residual) else (stage,):
                samples += hop * convolution.past
                hop *= convolution.stride
        samples += hop * (len(self.layers) * (self.context - 1) + self.downsample.past)
        return math.ceil(samples / (hop * self.downsample.stride))


def load_weights(checkpoint: Checkpoint, device: torch.device, precision: Precision) -> EncoderWeights:
    """Load an encoder. Raises CheckpointError if the weights do not fit the config, or the config is not of a Mimi."""
    # In float32, as what is computed from weights is; the matrices are rounded last.
    model = load_encoder(checkpoint.mimi_weights, checkpoint.mimi_config, checkpoint.codebooks, device, torch.float32)
    try:
        with torch.no_grad():
            return _pack(model, device, precision)
    except (AttributeError, AssertionError, IndexError) as error:
        raise CheckpointError(
            f"Mimi weights {checkpoint.mimi_weights}: wanted ELU, layer norms, rope and no gating, as Mimi has: {error}"
        ) from error


class _Packer:
    """Turns convolutions into matrices, and lays out the state they share."""

    def __init__(self, precision: Precision) -> None:
        self._precision = precision
        self.state = 0

    def convolution(self, module: StreamingConv1d) -> Convolution:
        conv = module.conv.conv
        assert conv.groups == 1
        kernel, stride, dilation = conv.kernel_size[0], conv.stride[0], conv.dilation[0]
        past = (kernel - 1) * dilation + 1 - stride
        matrix = prepare(conv.weight.permute(0, 2, 1).flatten(1), self._precision, conv.bias)
        offset = self.state
        self.state += past * conv.in_channels
        replicates = module.pad_mode == "replicate"
        return Convolution(kernel, stride, dilation, conv.in_channels, past, offset, replicates, matrix)

    def stages(self, sequence: Any) -> Iterator[Convolution | Residual]:
        for position, module in enumerate(sequence):
            if isinstance(module, SEANetResnetBlock):
                block: Any = module.block
                assert isinstance(module.shortcut, nn.Identity)
                elus, convolutions = block[::2], block[1::2]
                assert all(isinstance(elu, nn.ELU) and elu.alpha == 1 for elu in elus)
                yield Residual(tuple(self.convolution(convolution) for convolution in convolutions))
            elif isinstance(module, StreamingConv1d):
                # Where `convolution` is applied, an ELU is expected before it: everywhere but at the start.
                assert position == 0 or isinstance(sequence[position - 1], nn.ELU)
                yield self.convolution(module)
            else:
                assert isinstance(module, nn.ELU)


def _pack(model: MimiModel, device: torch.device, precision: Precision) -> EncoderWeights:
    projected = model.encoder_transformer
    assert projected is not None
    assert projected.input_proj is None
    assert isinstance(projected.output_projs[0], nn.Identity)
    transformer = projected.transformer
    assert transformer.positional_embedding == "rope"
    attention = transformer.layers[0].self_attn
    packer = _Packer(precision)
    stages = tuple(packer.stages(model.encoder.model))
    downsample = packer.convolution(model.downsample.conv)
    quantizers = [_quantizer(model.quantizer.rvq_first)]
    if model.quantizer.n_q > model.quantizer.n_q_semantic:
        quantizers.append(_quantizer(model.quantizer.rvq_rest))
    return EncoderWeights(
        device=device,
        dtype=precision.activations(device),
        dim=int(model.dimension),
        attention_heads=int(attention.num_heads),
        context=int(attention.context),
        max_period=float(transformer.max_period),
        frame_positions=downsample.stride,
        codebooks=int(model.num_codebooks),
        cardinality=int(model.cardinality),
        stages=stages,
        layers=tuple(_layer(layer, precision) for layer in transformer.layers),
        downsample=downsample,
        quantizers=tuple(quantizers),
        state=packer.state,
    )


def _layer(layer: Any, precision: Precision) -> Layer:
    attention = layer.self_attn
    assert layer.gating is None
    assert layer.activation is functional.gelu
    dim = int(attention.embed_dim)
    qkv = attention.in_projs[0].weight
    qkv = torch.cat([qkv[:dim] * (dim // int(attention.num_heads)) ** -0.5, qkv[dim:]])
    return Layer(
        norm_1=_norm(layer.norm1, precision),
        qkv=prepare(qkv, precision),
        output=prepare(_scaled(attention.out_projs[0].weight, layer.layer_scale_1), precision),
        norm_2=_norm(layer.norm2, precision),
        feed_forward=_FeedForward(
            prepare(layer.linear1.weight, precision),
            prepare(_scaled(layer.linear2.weight, layer.layer_scale_2), precision),
        ),
    )


class _FeedForward:
    def __init__(self, linear_in: Linear, linear_out: Linear) -> None:
        self._in, self._out = linear_in, linear_out

    def add_to(self, residual: torch.Tensor, x: torch.Tensor) -> None:
        """See Branch."""
        self._out.add_to(residual, functional.gelu(self._in(x)))


def _norm(norm: Any, precision: Precision) -> LayerNorm:
    assert type(norm) is nn.LayerNorm
    dtype = precision.activations(norm.weight.device)
    return LayerNorm(norm.weight.to(dtype), norm.bias.to(dtype), norm.eps)


def _scaled(weight: torch.Tensor, scale: Any) -> torch.Tensor:
    if isinstance(scale, nn.Identity):
        return weight
    assert isinstance(scale, LayerScale)
    return weight * scale.scale[:, None]


def _quantizer(quantizer: Any) -> Quantizer:
    """Pack in float32 whatever the precision: rounding would change codes."""
    assert quantizer.input_proj.bias is None
    codebooks = []
    for layer in quantizer.vq.layers[: quantizer.n_q]:
        entries = layer._codebook.embedding
        # |x - e|² is least where x·e - |e|²/2 is largest.
        bias = entries.square().sum(1) * -0.5
        codebooks.append(Codebook(prepare(entries, Precision.FLOAT32, bias), entries.contiguous()))
    return Quantizer(prepare(quantizer.input_proj.weight[:, :, 0], Precision.FLOAT32), tuple(codebooks))
