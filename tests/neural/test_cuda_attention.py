"""The attention kernel against plain arithmetic: interpreted on a CPU, compiled where there is a GPU."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

pytest.importorskip("triton", reason="comes with torch for CUDA")

from services.neural.cuda_attention import ring_attention

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
HEADS, CONTEXT, HEAD_DIM = 2, 70, 24
SLOTS = (4, 0, 2, 3)
# Frames before this one: none, one block, more than one, the ring full to the brim, wrapped around.
FRAMES = (0, 12, 68, 500)


def expected(
    query: torch.Tensor, ring: torch.Tensor, slots: torch.Tensor, positions: torch.Tensor, frame_positions: int
) -> torch.Tensor:
    """Attend, position by position, to the entries of the ring that hold it or what is before it."""
    rows = []
    for row, (asked, position) in enumerate(zip(query.float(), positions.tolist(), strict=True)):
        last = position // frame_positions * frame_positions + frame_positions - 1
        newest = {number % CONTEXT: number for number in range(max(0, last - CONTEXT + 1), last + 1)}
        seen = [entry for entry, number in sorted(newest.items()) if number <= position]
        key, value = ring[:, int(slots[row // frame_positions]), :, seen].float()
        weights = torch.einsum("hd,hkd->hk", asked, key).softmax(-1)
        rows.append(torch.einsum("hk,hkd->hd", weights, value).flatten())
    return torch.stack(rows)


@pytest.mark.parametrize("frame_positions", [1, 2])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)], ids=["float32", "bfloat16"]
)
def test_each_row_sees_what_its_session_has_heard(frame_positions: int, dtype: torch.dtype, tolerance: float):
    generator = torch.Generator().manual_seed(0)
    ring = torch.randn(2, 5, HEADS, CONTEXT, HEAD_DIM, generator=generator).to(DEVICE, dtype)
    slots = torch.tensor(SLOTS, device=DEVICE)
    first = torch.tensor(FRAMES, device=DEVICE) * frame_positions
    positions = (first[:, None] + torch.arange(frame_positions, device=DEVICE)).flatten()
    # As in the transformer: queries are a part of a wider row.
    wide = torch.randn(len(positions), 3, HEADS, HEAD_DIM, generator=generator).to(DEVICE, dtype)
    answer = ring_attention(wide[:, 0], ring, slots, positions, frame_positions)
    assert answer.dtype == dtype
    torch.testing.assert_close(
        answer.float(), expected(wide[:, 0], ring, slots, positions, frame_positions), rtol=0, atol=tolerance
    )


def test_what_is_beyond_a_sessions_length_is_never_read():
    ring = torch.full((2, 2, HEADS, CONTEXT, HEAD_DIM), float("nan"), device=DEVICE)
    ring[:, 1, :, :3] = 1
    answer = ring_attention(
        torch.ones(1, HEADS, HEAD_DIM, device=DEVICE),
        ring,
        torch.tensor([1], device=DEVICE),
        torch.tensor([2], device=DEVICE),
    )
    assert answer.tolist() == [[1.0] * (HEADS * HEAD_DIM)]


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from services.neural.cuda_attention import ring_attention_kernel

pointers = ("query", "keys", "values", "output")
for capability, kept in ((80, "fp32"), (90, "bf16"), (90, "fp8e4nv")):
    computed = "fp32" if kept == "fp32" else "bf16"
    types = {"keys": kept, "values": kept, "query": computed, "output": computed, "slots": "i64", "positions": "i64"}
    constants = {"FRAME": 1, "HEAD_DIM": 128, "COMPONENTS": 128, "BLOCK": 64}
    signature = {name: f"*{types[name]}" if name in types else "i32" for name in ring_attention_kernel.arg_names}
    signature |= dict.fromkeys(constants, "constexpr")
    source = ASTSource(ring_attention_kernel, signature, constants)
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32))
    assert compiled.asm["cubin"]
    print("compiled", capability, kept)
"""


def test_the_kernel_compiles_for_gpus_without_one(tmp_path: pytest.TempPathFactory):
    """In a process of its own: in this one kernels are interpreted. What it cannot say is how fast it is."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    run = subprocess.run(
        [sys.executable, "-c", COMPILE],
        env=environment | {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert run.stdout.count("compiled") == 3, run.stderr
