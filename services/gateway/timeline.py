"""Model frames to session time: what the pipeline fed a model, and where in the caller's audio that was.

The model also hears silence that is not the caller's: before the first audio, at flushes, at the end. It takes no
session time, and need not be whole frames (the 2.6B model wants 12.5 of them before the audio). One Timeline a
session, used by its pipeline only.
"""

from __future__ import annotations

from bisect import bisect_right

from services.common.framing import FRAME_SAMPLES


class Timeline:
    """Positions in the session's audio, in samples at 24 kHz, of what a model was fed.

    Model frames count from 0 since the session began or was last reset. Memory grows with the changes between audio
    and silence that are not yet forgotten, not with the audio.
    """

    def __init__(self, base_samples: int = 0) -> None:
        """Begin a session. base_samples: the position of its first sample, for one that continues another."""
        self._base = base_samples
        self._audio = 0
        self._fed = 0
        # Runs of audio and of silence, in turns: where each begins, in samples fed and in the session, and which.
        self._starts: list[int] = []
        self._positions: list[int] = []
        self._is_audio: list[bool] = []

    @property
    def fed_frames(self) -> int:
        """Return the whole frames fed since the last reset."""
        return self._fed // FRAME_SAMPLES

    @property
    def audio_samples(self) -> int:
        """Return the caller's samples fed since the session began, resets or not; the base is not in it."""
        return self._audio

    @property
    def end_samples(self) -> int:
        """Return the position of the end of the audio fed: the base and audio_samples."""
        return self._base + self._audio

    def add_silence(self, samples: int) -> None:
        """Note silence of the service's own, which takes no session time."""
        self._add(samples, audio=False)

    def add_audio(self, samples: int) -> None:
        """Note the caller's audio. If silence fills up its last frame, add that as silence."""
        self._add(samples, audio=True)
        self._audio += samples

    def reset(self) -> None:
        """Let model frames count from 0 again; session time goes on."""
        self._fed = 0
        self._starts.clear()
        self._positions.clear()
        self._is_audio.clear()

    def offset_samples(self, model_frame: int) -> int:
        """Return the position where a model frame begins; for one not fed yet, the end of the audio fed.

        Frames that were forgotten are answered with the oldest position still known.
        """
        at_fed = model_frame * FRAME_SAMPLES
        if at_fed >= self._fed:
            return self.end_samples
        run = bisect_right(self._starts, at_fed) - 1
        if run < 0:
            return self._positions[0]
        position = self._positions[run]
        return position + at_fed - self._starts[run] if self._is_audio[run] else position

    def injected(self, model_frame: int) -> bool:
        """Say whether a frame that was fed, and not forgotten, has any silence of the service's own in it."""
        return self.offset_samples(model_frame + 1) - self.offset_samples(model_frame) < FRAME_SAMPLES

    def forget_before(self, model_frame: int) -> None:
        """Drop what only frames before this one need."""
        run = bisect_right(self._starts, model_frame * FRAME_SAMPLES) - 1
        if run > 0:
            del self._starts[:run], self._positions[:run], self._is_audio[:run]

    def _add(self, samples: int, audio: bool) -> None:
        assert samples >= 0
        if samples and (not self._is_audio or self._is_audio[-1] != audio):
            self._starts.append(self._fed)
            self._positions.append(self.end_samples)
            self._is_audio.append(audio)
        self._fed += samples
