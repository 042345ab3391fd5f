"""Runs an exported checkpoint as the services do: one frame a step, batched; used by evaluation."""

import os
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("NO_TORCH_COMPILE", "1")

import json

import numpy as np
import torch
from moshi.models import LMGen, loaders
from numpy.typing import NDArray
from torch import Tensor

from training.clips import Word
from training.decoding import EndRule, words_of
from training.vocabulary import BOUNDARY

FRAME_SAMPLES = 1920
END_KEYS = ("word_end_base_ms", "word_end_per_character_ms", "word_end_apart_ms")
TAIL_S = 2.6
"""Silence after the audio: the delay, and time for the third pause head."""


@dataclass(frozen=True)
class Transcript:
    """What the model said about one recording.

    tokens: text[0], text[1], ... pauses: [frames + 1, 4], probability of a pause by horizon.
    """

    words: list[Word]
    tokens: list[int]
    pauses: NDArray[np.float32]


class Checkpoint:
    """An exported checkpoint, loaded by moshi's own loaders from local files."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        config = json.loads((folder / "config.json").read_text())
        info = loaders.CheckpointInfo.from_hf_repo(
            "local",
            moshi_weights=folder / config["moshi_name"],
            mimi_weights=folder / config["mimi_name"],
            tokenizer=folder / config["tokenizer_name"],
            config_path=folder / "config.json",
            mimi_config_path=folder / config["mimi_config_name"],
        )
        self.device = device
        self.mimi = info.get_mimi(device)
        self.lm = info.get_moshi(device, dtype=torch.float32)
        self.tokenizer = info.get_text_tokenizer()
        self.delay_frames: int = info.stt_config["delay_frames"]
        self.rule = EndRule(*(info.stt_config.get(key, 0.0) for key in END_KEYS))

    @torch.no_grad()
    def codes(self, recordings: list[NDArray[np.float32]]) -> Tensor:
        """Return the codes of 24 kHz mono recordings with silence behind them: [B, K, frames]."""
        frames = max(steps_of(pcm) for pcm in recordings) - 1
        pcm = np.zeros((len(recordings), frames * FRAME_SAMPLES), np.float32)
        for row, recording in zip(pcm, recordings, strict=True):
            row[: len(recording)] = recording
        audio = torch.from_numpy(pcm)[:, None].to(self.device)
        with self.mimi.streaming(len(recordings)):
            return torch.cat([self.mimi.encode(frame) for frame in audio.split(FRAME_SAMPLES, 2)], 2)

    @torch.no_grad()
    def answers(self, codes: Tensor, recordings: list[NDArray[np.float32]]) -> list[Transcript]:
        """Return what the language model says to the codes of recordings."""
        batch = len(recordings)
        generator = LMGen(self.lm, use_sampling=False, support_out_of_sync=True)
        tokens, pauses = [], []
        with generator.streaming(batch):
            # The first step ignores its codes and takes the initial tokens.
            for frame in [codes[:, :, :1], *codes.split(1, 2)]:
                answer = generator.step_with_extra_heads(frame)
                assert answer is not None
                tokens.append(answer[0][:, 0, 0].cpu().numpy())
                pauses.append(torch.stack([h[:, 0, 0] for h in answer[1]], 1).cpu().numpy())
        out = []
        for row, recording in enumerate(recordings):
            steps = steps_of(recording)
            said = [int(column[row]) for column in tokens[:steps]]
            heads = np.stack([column[row] for column in pauses[:steps]])
            out.append(Transcript(words_of(said, self.delay_frames, self.rule), said, heads))
        return out

    def transcribe(self, recordings: list[NDArray[np.float32]]) -> list[Transcript]:
        """Return the transcript of each 24 kHz mono recording; all are fed in one batch."""
        return self.answers(self.codes(recordings), recordings)

    def favour_boundaries(self, bias: float) -> None:
        """Add to the logit of the boundary token; below 0 fewer words are said."""
        linear = self.lm.text_linear
        biases = torch.zeros(linear.out_features, device=self.device)
        biases[BOUNDARY] = bias
        linear.bias = torch.nn.Parameter(biases)


def steps_of(pcm: NDArray[np.float32]) -> int:
    """Return the steps that a recording takes: the initial one, its frames and the tail's."""
    return 1 + int(np.ceil(len(pcm) / FRAME_SAMPLES + TAIL_S * 12.5))


def in_batches(checkpoint: Checkpoint, recordings: list[NDArray[np.float32]], batch: int = 32) -> list[Transcript]:
    """Transcribe any number of recordings, those of like length together."""
    order = sorted(range(len(recordings)), key=lambda index: len(recordings[index]))
    out: dict[int, Transcript] = {}
    for first in range(0, len(order), batch):
        rows = order[first : first + batch]
        transcripts = checkpoint.transcribe([recordings[row] for row in rows])
        out.update(zip(rows, transcripts, strict=True))
    return [out[row] for row in range(len(recordings))]
