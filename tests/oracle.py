"""What moshi itself answers to a recording, without any code of ours: the truth that engines and services must equal.

Follows moshi.run_inference: batch 1, one frame a call, greedy, the first frame stepped twice because LMGen ignores the
codes of its first step. The models are loaded by moshi's own loaders, decoder and all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from moshi.models import loaders
from moshi.models.lm import LMGen
from moshi.quantization import SplitResidualVectorQuantizer
from moshi.utils.compile import no_compile
from numpy.typing import NDArray

from services.common.checkpoint import Checkpoint
from services.common.framing import FRAME_SAMPLES


class ReferenceTokens(NamedTuple):
    # [frames + 1], the one of the initial tokens first.
    text_tokens: NDArray[np.int32]
    # [frames + 1, heads].
    pauses: NDArray[np.float32]


class ReferenceCodes(NamedTuple):
    # [recordings, frames, codebooks].
    codes: NDArray[np.uint16]
    # Of the same shape: by what share the second nearest entry is farther than the nearest. Where that is less than
    # what float32 rounds, either is right, and which one it is depends on the processor and on the batch.
    margins: NDArray[np.float32]


@torch.no_grad()
def reference_codes(checkpoint: Checkpoint, pcm: NDArray[np.float32]) -> NDArray[np.uint16]:
    """pcm: [samples], 24 kHz mono; a rest that fills no frame is dropped. Returns [frames, codebooks]."""
    config = None if checkpoint.mimi_config is None else dict(checkpoint.mimi_config)
    mimi = loaders.get_mimi(checkpoint.mimi_weights, config, num_codebooks=checkpoint.codebooks)
    frames = torch.tensor(pcm[: len(pcm) // FRAME_SAMPLES * FRAME_SAMPLES]).view(-1, 1, 1, FRAME_SAMPLES)
    with no_compile(), mimi.streaming(1):
        codes = [mimi.encode(frame)[0, :, 0] for frame in frames]
    return torch.stack(codes).numpy().astype(np.uint16)


@torch.no_grad()
def reference_tokens(
    checkpoint: Checkpoint, codes: NDArray[np.uint16], forced: NDArray[np.int32] | None = None
) -> ReferenceTokens:
    """codes: [frames, codebooks], at least one frame. forced: text tokens put in place of the first ones it says."""
    model = _lm(checkpoint)
    generator = LMGen(model, use_sampling=False)
    text_tokens, pauses = [], []
    with no_compile(), generator.streaming(1):
        for position, frame in enumerate([codes[0], *codes]):
            answer = generator.step_with_extra_heads(torch.tensor(frame.astype(np.int64)).view(1, -1, 1))
            assert answer is not None
            if forced is not None and position < len(forced):
                # Where LMGen keeps the text that its next step sees.
                state = generator._streaming_state
                assert state is not None
                state.cache[0, 0, int(state.offsets[0]) % state.cache.shape[2]] = int(forced[position])
                text_tokens.append(int(forced[position]))
            else:
                text_tokens.append(int(answer[0][0, 0, 0]))
            pauses.append([float(head[0, 0, 0]) for head in answer[1]])
    heads = np.array(pauses, np.float32).reshape(len(text_tokens), -1)
    return ReferenceTokens(np.array(text_tokens, np.int32), heads)


@torch.no_grad()
def reference_codes_of_many(checkpoint: Checkpoint, pcm: NDArray[np.float32]) -> ReferenceCodes:
    """Encode recordings of one length as rows of a batch. pcm: [recordings, samples]."""
    config = None if checkpoint.mimi_config is None else dict(checkpoint.mimi_config)
    mimi = loaders.get_mimi(checkpoint.mimi_weights, config, num_codebooks=checkpoint.codebooks)
    codes, margins = [], []
    with no_compile(), mimi.streaming(len(pcm)):
        for frame in torch.tensor(pcm)[:, None].split(FRAME_SAMPLES, 2):
            latent = mimi.encode_to_latent(frame, quantize=False)
            codes.append(mimi.quantizer.encode(latent)[:, :, 0])
            margins.append(_margins(mimi.quantizer, latent))
    return ReferenceCodes(torch.stack(codes, 1).numpy().astype(np.uint16), torch.stack(margins, 1).numpy())


def _margins(quantizer: SplitResidualVectorQuantizer, latent: torch.Tensor) -> torch.Tensor:
    """latent: [batch, dim, 1]. Returns [batch, codebooks]: see ReferenceCodes.margins."""
    margins = []
    for part in (quantizer.rvq_first, quantizer.rvq_rest):
        residual = part.input_proj(latent)
        for layer in part.vq.layers[: part.n_q]:
            embedding = layer._codebook.embedding
            distances = torch.cdist(layer.project_in(residual[:, :, 0]).double(), embedding.double())
            nearest, next_nearest = distances.topk(2, largest=False).values.unbind(1)
            margins.append((next_nearest - nearest) / nearest)
            residual = residual - layer.decode(layer.encode(residual))
    return torch.stack(margins, 1).float()


@torch.no_grad()
def reference_tokens_of_many(checkpoint: Checkpoint, codes: NDArray[np.uint16]) -> NDArray[np.int32]:
    """Step sessions of one length as rows of a batch. codes: [sessions, frames, codebooks].

    Returns text tokens [sessions, frames + 1].
    """
    generator = LMGen(_lm(checkpoint), use_sampling=False)
    tokens = []
    with no_compile(), generator.streaming(len(codes)):
        for frame in [codes[:, 0], *codes.swapaxes(0, 1)]:
            answer = generator.step(torch.tensor(frame.astype(np.int64))[:, :, None])
            assert answer is not None
            tokens.append(answer[:, 0, 0])
    return torch.stack(tokens, 1).numpy().astype(np.int32)


@torch.no_grad()
def reference_logits(
    checkpoint: Checkpoint, codes: NDArray[np.uint16], text_tokens: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Run the whole sequence at once, with no streaming at all. Returns text logits [frames + 1, text_card].

    codes: [frames, codebooks]; text_tokens: [frames + 1], of which the model sees all but the last.
    """
    model = _lm(checkpoint)
    sequence = model._get_initial_token().repeat(1, 1, len(text_tokens))
    sequence[0, 0, 1:] = torch.tensor(text_tokens[:-1])
    sequence[0, 1:, 1:] = torch.tensor(codes.astype(np.int64)).T
    with no_compile():
        _, logits = model.forward_text(sequence)
    result: NDArray[np.float32] = logits[0, 0].numpy()
    return result


def _lm(checkpoint: Checkpoint) -> loaders.LMModel:
    return loaders.get_moshi_lm(checkpoint.lm_weights, checkpoint.lm_config, dtype=torch.float32)
