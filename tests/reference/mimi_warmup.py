"""Brings one slot of a streaming Mimi to the state after some audio, without stepping the batch frame by frame.

A step costs the whole batch whichever rows it advances: a minute of audio would hold every other session up for 750
steps. Instead the audio runs through a scratch state of one row, many frames a call, and its end is copied into the
slot. `MimiEngine.open` calls it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from moshi.models.compression import MimiModel
from moshi.modules.conv import _StreamingConv1dState
from moshi.modules.transformer import RingKVCache, StreamingMultiheadAttention, _MHAState, _TransformerState
from moshi.utils.compile import no_cuda_graph

from services.common.framing import FRAME_SAMPLES

# Frames a call: more than that costs memory and gains no time.
_CHUNK_FRAMES = 50


@torch.no_grad()
def warm_up(model: MimiModel, slot: int, pcm: torch.Tensor) -> None:
    """Make a slot's state what encoding these frames one by one leaves behind, up to rounding.

    pcm: [frames * 1920], on the model's device and in its dtype.
    """
    attentions = [module for module in model.modules() if isinstance(module, StreamingMultiheadAttention)]
    resident = model.get_streaming_state()
    model._stop_streaming()
    try:
        # no_cuda_graph: a graph would be captured for the shapes of this one call.
        with model.streaming(1), no_cuda_graph():
            for attention in attentions:
                _widen(attention, _positions_per_frame(model) * _CHUNK_FRAMES)
            for chunk in torch.split(pcm, _CHUNK_FRAMES * FRAME_SAMPLES):
                frames = len(chunk) // FRAME_SAMPLES
                with _stepwise_context(attentions, _positions_per_frame(model), frames, pcm.device):
                    model.encode_to_latent(chunk.view(1, 1, -1), quantize=False)
            scratch = model.get_streaming_state()
    finally:
        # The very tensors that CUDA graphs have captured; they are only ever written in place.
        model.set_streaming_state(resident)
    for name, state in resident.items():
        _copy(scratch[name], state, slot)


def _positions_per_frame(model: MimiModel) -> int:
    return round(model.encoder_frame_rate / model.frame_rate)


def _widen(attention: StreamingMultiheadAttention, positions: int) -> None:
    """Give a scratch state room for its context and one call's positions, so that none is overwritten too early."""
    state = attention._streaming_state
    assert state is not None
    assert state.kv_cache is not None
    old = state.kv_cache.cache
    state.kv_cache = RingKVCache(
        1, old.shape[2], old.shape[4], old.shape[3] + positions - 1, device=old.device, dtype=old.dtype
    )


@contextmanager
def _stepwise_context(
    attentions: list[StreamingMultiheadAttention], positions_per_frame: int, frames: int, device: torch.device
) -> Iterator[None]:
    """Let each position of a call attend as far back as it could if the frames came one a call.

    The positions of a frame (two, at 25 Hz) enter the ring together and push out as many. So the last of them sees
    the whole context and each one before it sees one position less than the next.
    """
    contexts = [attention.context for attention in attentions]
    try:
        for attention, context in zip(attentions, contexts, strict=True):
            assert context is not None
            first = context - positions_per_frame + 1
            reach = torch.arange(first, context + 1, device=device).repeat(frames)
            # Compared with distances [queries, keys]: a column stands where moshi has one number.
            attention.context = reach[:, None]  # type: ignore[assignment]
        yield
    finally:
        for attention, context in zip(attentions, contexts, strict=True):
            attention.context = context


def _copy(source: object, target: object, slot: int) -> None:
    """Copy the one row of a scratch state into a row of a resident one, in place."""
    if isinstance(target, _StreamingConv1dState):
        assert isinstance(source, _StreamingConv1dState)
        target.previous[slot] = source.previous[0]
        target.first[slot] = source.first[0]
    elif isinstance(target, _MHAState):
        assert isinstance(source, _MHAState)
        assert source.kv_cache is not None
        assert target.kv_cache is not None
        target.offset[slot] = source.offset[0]
        _copy_ring(source.kv_cache, target.kv_cache, slot)
    elif isinstance(target, _TransformerState):
        assert isinstance(source, _TransformerState)
        target.offsets[slot] = source.offsets[0]


def _copy_ring(source: RingKVCache, target: RingKVCache, slot: int) -> None:
    length = int(source.end_offset[0])
    kept = torch.arange(max(0, length - target.capacity), length, device=source.cache.device)
    target.cache[:, slot][:, :, kept % target.capacity] = source.cache[:, 0][:, :, kept % source.capacity]
    target.end_offset[slot] = length
