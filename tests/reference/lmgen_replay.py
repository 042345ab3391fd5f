"""Brings one slot of a streaming LM to the state after a history, without stepping the batch frame by frame.

A step costs the whole batch whichever rows it advances: ten minutes of history would hold every other session up for
7 500 steps. Instead the history runs through a scratch state of one row, many positions a call, and its end is copied
into the slot. `LmGenEngine.open` calls it.
"""

from __future__ import annotations

import torch
from moshi.models.lm import LMGen, LMModel
from moshi.modules.transformer import RingKVCache, StreamingMultiheadAttention, _MHAState, _TransformerState

# Positions a call: enough to fill a GPU, few enough for the attention mask to stay small.
_CHUNK_POSITIONS = 256


@torch.no_grad()
def replay(generator: LMGen, slot: int, codes: torch.Tensor, text_tokens: torch.Tensor) -> None:
    """Make a slot's state what stepping through a history leaves behind, up to rounding.

    codes: [frames, codebooks]; text_tokens: [frames + 1], forced, whatever the model would have said; both int64 on
    the model's device. Position 0 saw the initial tokens; position n + 1 saw the codes of frame n and text n.
    """
    model = generator.lm_model
    positions = model._get_initial_token().repeat(1, 1, len(text_tokens))
    positions[0, 0, 1:] = text_tokens[:-1]
    positions[0, 1:, 1:] = codes.T
    resident = model.get_streaming_state()
    model._stop_streaming()
    try:
        with model.streaming(1):
            _widen_rings(model)
            for chunk in torch.split(positions, _CHUNK_POSITIONS, dim=2):
                model.forward_text(chunk)
            scratch = model.get_streaming_state()
    finally:
        # The very tensors that CUDA graphs have captured; they are only ever written in place.
        model.set_streaming_state(resident)
    for name, state in resident.items():
        _copy(scratch[name], state, slot)
    # What LMGen itself keeps of a row: how many steps it made, and the text that its next step sees.
    state = generator._streaming_state
    assert state is not None
    state.offsets[slot] = len(text_tokens)
    state.cache[slot, 0, len(text_tokens) % state.cache.shape[2]] = text_tokens[-1]


def _widen_rings(model: LMModel) -> None:
    """Give a scratch state room for its context and one call's positions, so that none is overwritten too early."""
    for module in model.modules():
        if isinstance(module, StreamingMultiheadAttention):
            state = module._streaming_state
            assert state is not None
            assert state.kv_cache is not None
            old = state.kv_cache.cache
            state.kv_cache = RingKVCache(
                1, old.shape[2], old.shape[4], old.shape[3] + _CHUNK_POSITIONS - 1, device=old.device, dtype=old.dtype
            )


def _copy(source: object, target: object, slot: int) -> None:
    """Copy the one row of a scratch state into a row of a resident one, in place."""
    if isinstance(target, _MHAState):
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
