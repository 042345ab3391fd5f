"""What a session's workers would have to know to go on elsewhere: its audio of late, all its codes and text tokens.

Costs 66 bytes a frame with 32 codebooks, 3 MB an hour, and 96 KB a second for the window of audio.

Bounds. Codes and tokens: `frames`; older ones are let go. A model knows of the past what its layers times its context
reach (1B: 16 x 750 frames, 16 minutes; 2.6B: 48 x 375, 24 minutes), so a bound beyond that changes nothing but the last
bits of floating-point numbers. Audio: `pcm_frames` before the frame that is next to be encoded, or what the codec says
that it reaches, if that is less. Mimi reaches 8 x 10 s back, of which the first seconds carry nearly all; the embedded
model's codec 8 s.
"""

from __future__ import annotations

from array import array
from collections import deque

import numpy as np
from numpy.typing import NDArray

from services.gateway.upstream.lm_link import ReplayedHistory

# The front is cut in one go, rarely, as it moves the rest.
_SLACK_FRAMES = 1024


class History:
    """Frames fed, codes received and tokens answered, since a session began or was reset."""

    def __init__(self, frames: int, pcm_frames: int) -> None:
        """frames: of codes and tokens to keep at least. pcm_frames: of encoded audio to keep."""
        self._most = frames
        self._most_pcm = pcm_frames
        self.clear()

    def clear(self) -> None:
        """Begin afresh."""
        self.fed = 0
        self.coded = 0
        self.answered = 0
        self._first = 0
        self._codes = bytearray()
        self._row_bytes = 0
        self._tokens = array("i")
        self._finished: list[int] = []
        # Frames fed, the newest last: those not yet encoded, and the window before them.
        self._pcm: deque[NDArray[np.float32]] = deque()

    @property
    def has_tokens(self) -> bool:
        """Tell whether an LM session was ever opened, since the last reset."""
        return bool(self._tokens)

    def add_pcm(self, pcm: NDArray[np.float32]) -> None:
        """Note a frame fed, [1920]."""
        self._pcm.append(pcm)
        self.fed += 1

    def add_codes(self, codes: NDArray[np.uint16]) -> None:
        """Note codes received, [frames, codebooks]."""
        self._row_bytes = 2 * codes.shape[1]
        self._codes += codes.astype("<u2", copy=False).tobytes()
        self.coded += len(codes)
        while len(self._pcm) - (self.fed - self.coded) > self._most_pcm:
            self._pcm.popleft()

    def limit_pcm(self, frames: int) -> None:
        """Keep no more encoded audio than this: the codec cannot tell the difference."""
        self._most_pcm = min(self._most_pcm, frames)

    def begin_tokens(self, initial_token: int) -> None:
        """Note text index 0, which comes with the opening of a fresh session."""
        self._tokens.append(initial_token)

    def add_token(self, token: int) -> None:
        """Note the answer to the next frame."""
        self._tokens.append(token)
        self.answered += 1
        if self.answered - self._first > self._most + _SLACK_FRAMES:
            self._cut(self.answered - self._most)

    def note_finish(self) -> None:
        """Note that the open word was completed at this point."""
        self._finished.append(self.answered)

    def pcm_window(self) -> NDArray[np.float32]:
        """Return the encoded audio that is kept, [frames, 1920]: what a codec is to hear first."""
        encoded = list(self._pcm)[: len(self._pcm) - (self.fed - self.coded)]
        return np.stack(encoded) if encoded else np.empty((0, 0), np.float32)

    def pcm_unencoded(self) -> list[NDArray[np.float32]]:
        """Return the frames fed whose codes have not come."""
        pending = self.fed - self.coded
        return list(self._pcm)[len(self._pcm) - pending :]

    def replay(self) -> ReplayedHistory:
        """Return everything up to the last answer: what an LM is to hear first."""
        frames = self.answered - self._first
        return ReplayedHistory(
            first_frame=self._first,
            frames=frames,
            codes=bytes(self._codes[: frames * self._row_bytes]),
            text_tokens=self._tokens.tolist(),
            finished_after_frames=[at - self._first for at in self._finished],
        )

    def codes_unanswered(self) -> NDArray[np.uint16] | None:
        """Return the codes received whose answers have not come, [frames, codebooks]; None without any."""
        if self.coded == self.answered:
            return None
        rest = self._codes[(self.answered - self._first) * self._row_bytes :]
        return np.frombuffer(bytes(rest), "<u2").reshape(self.coded - self.answered, -1)

    def _cut(self, first: int) -> None:
        cut = first - self._first
        del self._codes[: cut * self._row_bytes]
        # The token before the first frame that is kept takes the place of the initial one.
        del self._tokens[:cut]
        self._first = first
        self._finished = [at for at in self._finished if at >= first]
