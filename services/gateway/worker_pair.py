"""A session's two worker sessions as one thing that takes frames and gives answers, whoever of the two dies.

Frames go to the codec; its codes go on to the LM in the same callback; the LM's answers go to the pipeline. What both
would need to go on elsewhere is in `History`. When one is lost, `lost` is told, and frames fed meanwhile wait; when
another is attached, what was on its way is sent again. An answer and the words that it brought come in one piece, so
whatever was answered is never asked again and nothing is said twice or left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.common.errors import DsmError
from services.gateway.history import History
from services.gateway.upstream.codec_link import CodecSession
from services.gateway.upstream.kind import Kind
from services.gateway.upstream.lm_link import Answer, LmSession, LmWord


class PairListener(Protocol):
    """Who the answers are for."""

    def on_answer(self, answer: Answer) -> None:
        """Take the answer to the next frame."""

    def on_last_words(self, words: Sequence[LmWord]) -> None:
        """Take words that `finish` or `end` completed."""

    def on_finished(self) -> None:
        """`finish` is done."""

    def on_reset(self) -> None:
        """`reset` is done: frames count from 0 again."""

    def on_ended(self) -> None:
        """`end` is done."""


class WorkerPair:
    """The codec session and the LM session of one caller's session."""

    def __init__(self, listener: PairListener, history: History) -> None:
        self._listener = listener
        self._history = history
        self._codec: CodecSession | None = None
        self._lm: LmSession | None = None
        self._codec_credits = 0
        self._lm_credits = 0
        # Who has yet to confirm a reset, and what the LM has yet to confirm besides.
        self._resetting: set[Kind] = set()
        self._finishing = False
        self._ending = False
        self._released = False
        # Told which worker is missing now, and by what it went.
        self.lost: Callable[[Kind, DsmError], None] = lambda _kind, _error: None
        # Told that a worker wants its sessions moved.
        self.draining: Callable[[Kind], None] = lambda _kind: None
        self.codec_side = _CodecSide(self)
        self.lm_side = _LmSide(self)

    @property
    def ready(self) -> bool:
        """Tell whether a frame may be fed now."""
        room = min(self._codec_credits, self._lm_credits)
        blocked = self._resetting or self._ending or self._released
        return room > 0 and self.on_their_way < room and not blocked

    @property
    def on_their_way(self) -> int:
        """Frames fed and not yet answered."""
        return self._history.fed - self._history.answered

    @property
    def fed(self) -> int:
        """Frames fed since the session began or was reset."""
        return self._history.fed

    @property
    def answered(self) -> int:
        """Frames answered since the session began or was reset."""
        return self._history.answered

    @property
    def history(self) -> History:
        """What another worker needs to go on."""
        return self._history

    # From the pipeline

    def feed(self, pcm: NDArray[np.float32]) -> None:
        """Feed a frame, [1920]; only when `ready`."""
        self._history.add_pcm(pcm)
        if self._codec is not None:
            self._codec.send(pcm)

    def finish(self) -> None:
        """Have the open word completed; everything fed must have been answered."""
        self._finishing = True
        if self._lm is not None:
            self._lm.finish()

    def reset(self) -> None:
        """Let both start afresh; everything fed must have been answered."""
        self._resetting = {Kind.CODEC, Kind.LM}
        if self._codec is not None:
            self._codec.reset()
        if self._lm is not None:
            self._lm.reset()

    def end(self) -> None:
        """Have the last word completed and end; everything fed must have been answered."""
        self._ending = True
        if self._lm is not None:
            self._lm.finish_and_close()

    def release(self) -> None:
        """Give both slots back; safe at any time and more than once."""
        self._released = True
        for session in (self._codec, self._lm):
            if session is not None:
                session.close()
        # A session is a cycle of objects, which Python may not look for in a long time; megabytes must not wait for it.
        self._history.clear()

    # From whoever opens sessions on workers

    def attach_codec(self, codec: CodecSession) -> None:
        """Take a codec session: a fresh one, or one that has heard `history.pcm_window()`."""
        if self._released:
            codec.close()
            return
        self._codec, self._codec_credits = codec, codec.credit_frames
        if codec.reach_frames is not None:
            self._history.limit_pcm(codec.reach_frames)
        if Kind.CODEC in self._resetting:
            # Nothing is on its way then, and what is fed from here on must not be sent twice.
            self._confirm_reset(Kind.CODEC)
            return
        for pcm in self._history.pcm_unencoded():
            codec.send(pcm)

    def attach_lm(self, lm: LmSession) -> None:
        """Take an LM session: a fresh one, or one that has heard `history.replay()`."""
        if self._released:
            lm.close()
            return
        self._lm, self._lm_credits = lm, lm.credit_frames
        if Kind.LM in self._resetting:
            self._confirm_reset(Kind.LM)
            return
        if not self._history.has_tokens:
            self._history.begin_tokens(lm.initial_token)
        codes = self._history.codes_unanswered()
        if codes is not None:
            lm.send(codes)
        if self._ending:
            lm.finish_and_close()
        elif self._finishing:
            lm.finish()

    def is_fresh(self, kind: Kind) -> bool:
        """Tell whether a new worker needs no history: at the beginning, and in the middle of a reset."""
        return kind in self._resetting or not self._history.has_tokens

    def let_go(self, kind: Kind) -> bool:
        """Close one of the two to move it elsewhere; what it has not answered will be asked again.

        Returns False if it was gone already.
        """
        session = self._codec if kind is Kind.CODEC else self._lm
        if session is None or self._released:
            return False
        session.close()
        self._forget(kind)
        return True

    def _forget(self, kind: Kind) -> None:
        if kind is Kind.CODEC:
            self._codec = None
        else:
            self._lm = None
        if self._resetting:
            # Whatever it had confirmed is gone with it.
            self._resetting.add(kind)

    # From the workers

    def take_codes(self, codes: NDArray[np.uint16]) -> None:
        """Note codes and hand them on; credits allow it, as nothing beyond the window was fed."""
        self._history.add_codes(codes)
        if self._lm is not None:
            self._lm.send(codes)

    def take_answer(self, answer: Answer) -> None:
        """Note an answer and hand it on."""
        self._history.add_token(answer.token)
        self._listener.on_answer(answer)

    def take_last_words(self, words: Sequence[LmWord]) -> None:
        """Hand on words that `finish` or `end` completed."""
        self._listener.on_last_words(words)

    def take_finished(self) -> None:
        """Hand on that `finish` is done."""
        if self._finishing:
            self._finishing = False
            # The word of it came in the same response: it is said, and must not be said again elsewhere.
            self._history.note_finish()
            self._listener.on_finished()

    def take_ended(self) -> None:
        """Hand on that `end` is done."""
        self._listener.on_ended()

    def take_reset(self, kind: Kind) -> None:
        """One of the two has started afresh."""
        self._confirm_reset(kind)

    def take_failure(self, kind: Kind, error: DsmError) -> None:
        """One of the two is gone."""
        self._forget(kind)
        self.lost(kind, error)

    def _confirm_reset(self, kind: Kind) -> None:
        self._resetting.discard(kind)
        if not self._resetting:
            initial_token = self._lm.initial_token if self._lm is not None else 0
            self._history.clear()
            self._history.begin_tokens(initial_token)
            self._listener.on_reset()


class _CodecSide:
    """Tells the pair what its codec session says. Implements CodecListener."""

    def __init__(self, pair: WorkerPair) -> None:
        self._pair = pair

    def on_codes(self, codes: NDArray[np.uint16]) -> None:
        self._pair.take_codes(codes)

    def on_codec_reset(self) -> None:
        self._pair.take_reset(Kind.CODEC)

    def on_failed(self, error: DsmError) -> None:
        self._pair.take_failure(Kind.CODEC, error)

    def on_draining(self) -> None:
        self._pair.draining(Kind.CODEC)


class _LmSide:
    """Tells the pair what its LM session says. Implements LmListener."""

    def __init__(self, pair: WorkerPair) -> None:
        self._pair = pair

    def on_answer(self, answer: Answer) -> None:
        self._pair.take_answer(answer)

    def on_last_words(self, words: Sequence[LmWord]) -> None:
        self._pair.take_last_words(words)

    def on_finished(self) -> None:
        self._pair.take_finished()

    def on_lm_reset(self) -> None:
        self._pair.take_reset(Kind.LM)

    def on_lm_closed(self) -> None:
        self._pair.take_ended()

    def on_failed(self, error: DsmError) -> None:
        self._pair.take_failure(Kind.LM, error)

    def on_draining(self) -> None:
        self._pair.draining(Kind.LM)
