"""Attention of one step's rows over their rings, as a Triton kernel: each row reads as much as its session has heard.

The batch's sessions differ in length by a factor of hundreds. A kernel for rectangles would read the longest for all;
here every (row, head) is a program of its own, which walks its ring up to the row's length with an online softmax.
What else was looked at, and why it is not used: docs/engines.md.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

# Ring entries a program holds at once: 64 keys of 128 components are 16 KiB in bfloat16.
_BLOCK_KEYS = 64


@triton.jit  # type: ignore[untyped-decorator]
def ring_attention_kernel(  # type: ignore[no-untyped-def]
    query,
    keys,
    values,
    slots,
    positions,
    output,
    query_stride,
    heads,
    context,
    FRAME: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    COMPONENTS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program a row and head. COMPONENTS: head_dim, rounded up to a power of two."""
    row = tl.program_id(0)
    head = tl.program_id(1)
    slot = tl.load(slots + row // FRAME)
    position = tl.load(positions + row)
    last = position - position % FRAME + FRAME - 1
    length = tl.minimum(last + 1, context)
    component = tl.arange(0, COMPONENTS)
    inside = component < HEAD_DIM
    asked = tl.load(query + row * query_stride + head * HEAD_DIM + component, mask=inside, other=0.0).to(tl.float32)
    ring = (slot * heads + head) * context * HEAD_DIM
    largest = -float("inf")
    total = 0.0
    answer = tl.zeros([COMPONENTS], tl.float32)
    for start in range(0, length, BLOCK):
        entry = start + tl.arange(0, BLOCK)
        there = entry < length
        # Positions of one frame are in the ring together; each sees those before it and itself.
        held = last - (last - entry) % context
        place = ring + entry[:, None] * HEAD_DIM + component[None, :]
        wanted = there[:, None] & inside[None, :]
        key = tl.load(keys + place, mask=wanted, other=0.0).to(tl.float32)
        score = tl.sum(key * asked[None, :], axis=1)
        score = tl.where(there & (held <= position), score, -float("inf"))
        # Never -inf: the first block has at least one entry that the position sees.
        new_largest = tl.maximum(largest, tl.max(score, axis=0))
        share = tl.exp(score - new_largest)
        shrink = tl.exp(largest - new_largest)
        value = tl.load(values + place, mask=wanted, other=0.0).to(tl.float32)
        total = total * shrink + tl.sum(share, axis=0)
        answer = answer * shrink + tl.sum(share[:, None] * value, axis=0)
        largest = new_largest
    place = (row * heads + head) * HEAD_DIM + component
    tl.store(output + place, (answer / total).to(output.dtype.element_ty), mask=inside)


def ring_attention(
    query: torch.Tensor, ring: torch.Tensor, slots: torch.Tensor, positions: torch.Tensor, frame_positions: int = 1
) -> torch.Tensor:
    """Attend from the newest positions of some slots to all that their rings hold.

    query: [rows * positions, heads, head_dim], scaled, rows dense. ring: [2, slots, heads, context, head_dim], keys
    and values. slots: [rows] of int64. positions: [rows * positions] of int64, already in the ring.
    Returns [rows * positions, heads * head_dim].
    Source: online softmax (Milakov and Gimelshein 2018, arXiv:1805.02867).
    """
    rows, heads, head_dim = query.shape
    output = torch.empty(rows, heads * head_dim, dtype=query.dtype, device=query.device)
    ring_attention_kernel[(rows, heads)](
        query,
        ring[0],
        ring[1],
        slots,
        positions,
        output,
        query.stride(0),
        heads,
        ring.shape[3],
        FRAME=frame_positions,
        HEAD_DIM=head_dim,
        COMPONENTS=triton.next_power_of_2(head_dim),
        BLOCK=_BLOCK_KEYS,
    )
    return output
