"""A sentencepiece tokenizer of any size, trained on made-up words: the text side of a seeded checkpoint."""

from __future__ import annotations

import io
import random

import sentencepiece

_ONSETS = ("b", "d", "f", "k", "l", "m", "n", "p", "r", "s", "t", "v")
_VOWELS = ("a", "e", "i", "o", "u")
_CODAS = ("", "", "", "n", "r", "s", "l")


def train_tokenizer(pieces: int, seed: int) -> bytes:
    """Train a BPE model of exactly that many pieces on pronounceable words.

    Ids as in the published models: 0 unknown (the boundary token), 1 and 2 begin and end, 3 padding.
    Returns the model file.
    """
    chance = random.Random(seed)
    words = ["".join(_syllable(chance) for _ in range(chance.choice((1, 2, 2, 3, 3, 4)))) for _ in range(6 * pieces)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(words),
        model_writer=model,
        model_type="bpe",
        vocab_size=pieces,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=3,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def _syllable(chance: random.Random) -> str:
    return chance.choice(_ONSETS) + chance.choice(_VOWELS) + chance.choice(_CODAS)
