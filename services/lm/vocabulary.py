"""The text vocabulary of a checkpoint: a sentencepiece model as Transcript reads it."""

from __future__ import annotations

from pathlib import Path

from sentencepiece import SentencePieceProcessor

from services.common.errors import CheckpointError


class SentencePieceVocabulary:
    """A sentencepiece model; text tokens beyond its size, which a model may have room for, say nothing."""

    def __init__(self, path: Path) -> None:
        """Load a .model file. Raises CheckpointError naming the path if that cannot be done."""
        processor = SentencePieceProcessor()
        try:
            processor.LoadFromSerializedProto(path.read_bytes())
        except OSError as error:
            raise CheckpointError(f"{path}: cannot read the text tokenizer: {error.strerror or error}") from error
        except RuntimeError as error:
            raise CheckpointError(f"{path}: wanted a sentencepiece model, got a file that is not one") from error
        self._processor = processor
        self._pieces: list[str] = [processor.id_to_piece(token) for token in range(processor.vocab_size())]

    @property
    def size(self) -> int:
        """Return the number of pieces."""
        return len(self._pieces)

    def decode(self, pieces: list[int]) -> str:
        """Return the text of consecutive pieces: spaces between words kept, bytes put together to characters."""
        text: str = self._processor.decode([token for token in pieces if 0 <= token < len(self._pieces)])
        return text

    def piece(self, token: int) -> str:
        """Return one piece as it is written, empty beyond the vocabulary."""
        return self._pieces[token] if 0 <= token < len(self._pieces) else ""
