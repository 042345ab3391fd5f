"""The network that is trained: moshi's own Mimi encoder and language model, joined by the quantiser.

The language model is fed W(RVQ(z)). As the quantised latent is a sum of codebook entries, the
embedding tables of the exported model follow exactly: table k, row c = W(out_proj(entry c of k)).
"""

from dataclasses import dataclass
from typing import Any

import torch
from moshi.models import loaders
from torch import Tensor, nn
from torch.nn import functional

from training.quantizer import Codebooks
from training.targets import PHONES


@dataclass(frozen=True)
class Losses:
    """Loss terms of one batch, each a scalar."""

    text: Tensor
    phones: Tensor
    quantised_phones: Tensor
    pauses: Tensor
    commitment: Tensor

    def total(self) -> Tensor:
        """Return the weighted sum that is minimised."""
        return 2.0 * self.text + self.phones + 0.5 * self.quantised_phones + 0.2 * self.pauses + 0.25 * self.commitment


class Network(nn.Module):
    """Everything with weights; `quantise` says whether the codebooks are in the path yet."""

    def __init__(self, mimi_config: dict[str, Any], lm_config: dict[str, Any]) -> None:
        super().__init__()
        codebooks = lm_config["n_q"]
        self.mimi = loaders.get_mimi(None, mimi_config, num_codebooks=codebooks)
        self.lm = loaders.get_moshi_lm(None, lm_config, dtype=torch.float32)
        quantizer = mimi_config["quantizer"]
        latent, dimension = quantizer["input_dimension"], quantizer["dimension"]
        self.first = Codebooks(1, quantizer["bins"], dimension)
        self.rest = Codebooks(codebooks - 1, quantizer["bins"], dimension)
        self.to_lm = nn.Linear(latent, lm_config["dim"], bias=False)
        self.audio_initial = nn.Parameter(torch.zeros(lm_config["dim"]))
        self.phone_head = nn.Linear(latent, len(PHONES))
        self.quantised_phone_head = nn.Linear(latent, 2 * len(PHONES))
        self.quantise = False
        self.front_layers = 0

    def freeze_front(self, layers: int) -> None:
        """Leave the first layers of the encoder as they are; they work at 24 kHz and cost half of a step.

        layers: of the SEANet encoder, activations counted; 0 trains all.
        """
        self.front_layers = layers
        for layer in self.mimi.encoder.model[:layers]:
            layer.requires_grad_(False)

    def trained(self) -> dict[str, list[nn.Parameter]]:
        """Return the trained parameters: those of the encoder side and those of the text side."""
        encoder = [
            *self.mimi.encoder.parameters(),
            *self.mimi.encoder_transformer.parameters(),
            *self.mimi.downsample.parameters(),
            *self.mimi.quantizer.parameters(),
            *self.phone_head.parameters(),
            *self.quantised_phone_head.parameters(),
        ]
        text = [
            *self.lm.text_emb.parameters(),
            *self.lm.transformer.parameters(),
            *self.lm.out_norm.parameters(),
            *self.lm.text_linear.parameters(),
            *self.lm.extra_heads.parameters(),
            *self.to_lm.parameters(),
            self.audio_initial,
        ]
        return {"encoder": [p for p in encoder if p.requires_grad], "text": text}

    def latents(self, pcm: Tensor) -> tuple[Tensor, Tensor]:
        """Return the 25 Hz features [B, C, 2T] and the latents [B, C, T] of [B, 1, 1920 T]."""
        x = pcm
        with torch.no_grad():
            for layer in self.mimi.encoder.model[: self.front_layers]:
                x = layer(x)
        for layer in self.mimi.encoder.model[self.front_layers :]:
            x = layer(x)
        (features,) = self.mimi.encoder_transformer(x)
        return features, self.mimi.downsample(features)

    def projected(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the two parts of the split quantiser code: two of [B T, dimension]."""
        rows = latents.transpose(1, 2).flatten(0, 1)
        quantizer = self.mimi.quantizer
        first = rows @ quantizer.rvq_first.input_proj.weight[:, :, 0].T
        rest = rows @ quantizer.rvq_rest.input_proj.weight[:, :, 0].T
        return first, rest

    def quantised(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return the quantised latents [B, T, C], gradients straight through, and the commitment."""
        batch, _, frames = latents.shape
        with torch.autocast(latents.device.type, enabled=False):
            return self._quantised(latents.float(), batch, frames)

    def _quantised(self, latents: Tensor, batch: int, frames: int) -> tuple[Tensor, Tensor]:
        outputs, commitment = [], latents.new_zeros(())
        for x, books, rvq in zip(
            self.projected(latents),
            (self.first, self.rest),
            (self.mimi.quantizer.rvq_first, self.mimi.quantizer.rvq_rest),
            strict=True,
        ):
            passed = x
            if self.quantise:
                q, _ = books(x)
                scale = x.detach().pow(2).mean().clamp(min=1e-4)
                commitment = commitment + (x - q).pow(2).mean() / scale
                passed = x + (q - x).detach()
            outputs.append(passed @ rvq.output_proj.weight[:, :, 0].T)
        return (outputs[0] + outputs[1]).view(batch, frames, -1), commitment

    def hidden(self, quantised: Tensor, text: Tensor) -> Tensor:
        """Return the language model's states [B, T + 1, dim] for text inputs [B, T + 1].

        text: the token *before* each step; the first is the initial token. Step p hears p frames.
        """
        audio = self.to_lm(quantised)
        initial = self.audio_initial.expand(len(audio), 1, -1)
        x = torch.cat([initial, audio], 1) + self.lm.text_emb(text)
        states = self.lm.out_norm(self.lm.transformer(x))
        assert isinstance(states, Tensor)
        return states

    def phone_logits(self, features: Tensor, quantised: Tensor) -> tuple[Tensor, Tensor]:
        """Return the phone logits before and after the quantiser: two of [B, 2T, phones]."""
        coarse = self.quantised_phone_head(quantised)
        return self.phone_head(features.transpose(1, 2)), coarse.view(len(quantised), -1, len(PHONES))

    def forward(
        self, pcm: Tensor, text: Tensor, phones: Tensor, pauses: Tensor, text_input: Tensor
    ) -> tuple[Losses, Tensor]:
        """Return the losses and the text logits [B, T + 1, card] of one batch.

        Shapes as in `windows.Window` with a batch in front; text_input: text shifted by one step.
        """
        features, latents = self.latents(pcm)
        quantised, commitment = self.quantised(latents)
        states = self.hidden(quantised, text_input)
        logits = self.lm.text_linear(states)
        weight = torch.ones(logits.shape[-1], device=logits.device)
        weight[3] = 0.5
        heads = torch.stack([head(states) for head in self.lm.extra_heads], 1)
        fine, coarse = self.phone_logits(features, quantised)
        losses = Losses(
            functional.cross_entropy(logits.flatten(0, 1), text.flatten(), weight),
            functional.cross_entropy(fine.flatten(0, 1), phones.flatten()),
            functional.cross_entropy(coarse.flatten(0, 1), phones.flatten()),
            functional.cross_entropy(heads.flatten(0, 2), pauses.flatten()),
            commitment,
        )
        return losses, logits


@torch.no_grad()
def start_encoder(network: Network, pcm: Tensor) -> None:
    """Set the encoder's convolutions so that real speech keeps unit deviation through all layers.

    Orthogonal weights, then a scale for each layer from its output (Mishkin and Matas 2016,
    arXiv:1511.06422). With moshi's default start the latents are nearly constant and stay so.
    """
    x = pcm
    for layer in network.mimi.encoder.model:
        convolutions = [m for m in layer.modules() if isinstance(m, nn.Conv1d)]
        for convolution in convolutions:
            nn.init.orthogonal_(convolution.weight.view(convolution.weight.shape[0], -1))
            if convolution.bias is not None:
                nn.init.zeros_(convolution.bias)
        for convolution in convolutions:
            out = layer(x)
            spread = out.std().clamp(min=1e-5)
            convolution.weight /= spread
        x = layer(x)
