"""Random Mimi weights whose codes depend on the audio.

With the default initialisation the latents of a deep convolution stack are nearly constant and every frame gets the
same codes. So the weights are orthogonal, each channel is brought to zero mean and unit deviation on speech-like
audio, and the codebooks are drawn from the distribution of the latents that come out (LSUV, Mishkin & Matas 2015,
arXiv:1511.06422). Entry 0 of the first codebook is the latent of silence: digital silence gets code 0 there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from moshi.models.loaders import get_mimi
from moshi.utils.compile import no_compile
from torch import nn

from services.common.framing import FRAME_SAMPLES
from training.seeded_audio import speech_like

_AUDIO_FRAMES = 300
# Long enough for a context of 10 s to hold nothing but silence.
_SILENCE_FRAMES = 140
# moshi starts from 0.01, with which the transformer hardly counts, and a state that is lost or mixed up hardly shows.
_LAYER_SCALE = 0.25


def seeded_mimi(config: dict[str, Any] | None, seed: int) -> dict[str, torch.Tensor]:
    """Return the state of a whole Mimi, encoder to decoder (which is noise), in float32.

    config: a Mimi config, None for the full size. The same for the same seed, whatever the number of threads.
    """
    with torch.random.fork_rng(devices=[]), _one_thread(), torch.no_grad(), no_compile():
        torch.manual_seed(seed)
        mimi: Any = get_mimi(None, config)
        mimi.set_num_codebooks(mimi.total_codebooks)
        for name, parameter in mimi.named_parameters():
            if name.endswith(("layer_scale_1.scale", "layer_scale_2.scale")):
                parameter.fill_(_LAYER_SCALE)
        audio = speech_like(_AUDIO_FRAMES, seed)[None, None]
        with _standardising(mimi):
            latents = mimi.encode_to_latent(audio, quantize=False)
        # The second half: the first frames have silence padded before them.
        silence = mimi.encode_to_latent(torch.zeros(1, 1, _SILENCE_FRAMES * FRAME_SAMPLES), quantize=False)
        for quantizer in (mimi.quantizer.rvq_first, mimi.quantizer.rvq_rest):
            nn.init.orthogonal_(quantizer.input_proj.weight)
            nn.init.orthogonal_(quantizer.output_proj.weight)
            residual = quantizer.input_proj(latents)[0].T
            for layer in quantizer.vq.layers:
                entries = _codebook(residual, quantizer.bins)
                if quantizer is mimi.quantizer.rvq_first:
                    entries[0] = quantizer.input_proj(silence)[0, :, -1]
                residual = residual - entries[torch.cdist(residual, entries).argmin(1)]
                layer._codebook.embedding_sum.copy_(entries)
                layer._codebook.cluster_usage.fill_(1)
                layer._codebook._initialized.fill_(1)
        return {name: tensor.clone().contiguous() for name, tensor in mimi.state_dict().items()}


def _codebook(latents: torch.Tensor, entries: int) -> torch.Tensor:
    """Draw codebook entries from the distribution of some latents.

    latents: [frames, dimension]. Returns [entries, dimension]: Gaussian with the latents' mean and covariance, brought
    to one distance from the mean, as otherwise the few entries nearest to it would be nearest to every latent.
    """
    mean = latents.mean(0)
    centred = latents - mean
    directions = nn.functional.normalize(torch.randn(entries, len(latents)) @ centred, dim=1)
    distance = (centred @ directions.T).amax(1).mean()
    return mean + distance * directions


@contextmanager
def _standardising(mimi: Any) -> Iterator[None]:
    """Within, each convolution of the encoder that audio passes through is made orthogonal and standardised."""

    def standardise(conv: nn.Module, inputs: tuple[torch.Tensor], _output: torch.Tensor) -> torch.Tensor:
        assert isinstance(conv, nn.Conv1d)
        nn.init.orthogonal_(conv.weight)
        output = nn.functional.conv1d(inputs[0], conv.weight, None, conv.stride, conv.padding, conv.dilation)
        deviation, mean = torch.std_mean(output, dim=(0, 2))
        conv.weight.div_(deviation[:, None, None])
        output = output / deviation[:, None]
        if conv.bias is not None:
            conv.bias.copy_(-mean / deviation)
            output = output + conv.bias[:, None]
        return output

    hooks = [
        module.register_forward_hook(standardise)
        for part in (mimi.encoder, mimi.downsample)
        for module in part.modules()
        if isinstance(module, nn.Conv1d)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Within, sums have one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
