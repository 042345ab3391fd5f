"""One transcription, whatever calls carry it: what was asked, what was heard, and where another call would go on.

No I/O and no waiting: `Stream` and `AsyncStream` put requests in, open calls as `plan` says, and hand over responses.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from dsm_stt_client import events, messages
from dsm_stt_client.durations import to_duration, to_seconds
from dsm_stt_client.errors import CallerMistake
from dsm_stt_client.options import StreamConfig
from dsm_stt_client.proto import speech_pb2 as pb
from dsm_stt_client.request_log import Entry, Reader, RequestLog
from dsm_stt_client.seam import TOLERANCE_S, Seam
from dsm_stt_client.turn_track import TurnTrack

# Audio before the first word wanted, for the model to hear its way in.
_CONTEXT_S = 2.0
# How far before `finalized` a turn under way is heard again.
_MOST_TURN_S = 15.0
# Requests of audio are at most this large, whatever the caller sends at once: 1 MiB is the service's limit. Whole
# frames of the model, so that a call that continues another cuts the audio where it did.
_PIECE_S = 0.96
_COMPRESSED_BYTES = 32 * 1024
_WORDS_REMEMBERED = 256


@dataclass(frozen=True)
class CallPlan:
    """What a call begins with, and where its requests come from. resumed: it continues another."""

    config: pb.RecognitionConfig
    reader: Reader
    base_s: float
    resumed: bool


class Session:
    """The state of one stream."""

    def __init__(self, config: StreamConfig, resumable: bool, most_kept_s: float) -> None:
        """most_kept_s: of audio that is sent but not final, for a stream that can resume."""
        frame_bytes = config.audio_format.frame_bytes
        if resumable and frame_bytes is None:
            raise CallerMistake(
                f"resume: wanted LINEAR16, FLOAT32, MULAW or ALAW, got {config.audio_format.encoding.name}, "
                "which cannot be sent again from the middle"
            )
        self.resumable = resumable
        self.started = False
        self.ended = False
        self.cursors = events.Cursors()
        self._frame_bytes = frame_bytes or 1
        self._rate_hz = config.audio_format.sample_rate_hz if frame_bytes else 0
        self._config = messages.stream_config(config)
        self._base_s = config.resume.audio_offset_s if config.resume else 0.0
        self._call_base_s = self._base_s
        self.log = RequestLog(self._base_s, most_kept_s if resumable else None)
        self._turns = TurnTrack(config.resume.turn_index if config.resume else 0)
        self._seam = Seam()
        self._delivered: deque[events.Word] = deque(maxlen=_WORDS_REMEMBERED)
        self._words = 0
        self._sequence = 0
        self._vad_until_s = -1.0
        # Bytes of a sample of which the rest has not come.
        self._rest = b""
        self._unsettled: dict[str, Entry] = {}
        self._flushes_done: dict[str, events.FlushDone] = {}

    # Requests

    def audio(self, audio: bytes) -> Iterator[tuple[pb.StreamingRecognizeRequest, float]]:
        """Cut audio into requests, each with its seconds; a sample that is not whole waits for its rest."""
        audio, self._rest = self._rest + audio, b""
        whole = len(audio) - len(audio) % self._frame_bytes
        audio, self._rest = audio[:whole], audio[whole:]
        second_bytes = self._rate_hz * self._frame_bytes
        step = round(self._rate_hz * _PIECE_S) * self._frame_bytes or _COMPRESSED_BYTES
        for start in range(0, len(audio), step):
            piece = audio[start : start + step]
            seconds = len(piece) / second_bytes if second_bytes else 0.0
            yield pb.StreamingRecognizeRequest(audio=piece), seconds

    def finish(self) -> None:
        """Add nothing any more; what waited for the rest of a sample goes out for the service to judge."""
        rest, self._rest = self._rest, b""
        if rest:
            self.log.append(pb.StreamingRecognizeRequest(audio=rest))
        self.log.closed = True

    def add_silence(self, duration_s: float) -> None:
        """Add silence."""
        self.log.append(pb.StreamingRecognizeRequest(silence=pb.Silence(duration=to_duration(duration_s))), duration_s)

    def add_keep_alive(self) -> None:
        """Add a sign of life."""
        self.log.append(pb.StreamingRecognizeRequest(keep_alive=pb.KeepAlive()))

    def add_flush(self, flush: pb.Flush) -> None:
        """Add a flush. Raises CallerMistake if one of its id is under way."""
        self._add_marked(f"flush {flush.flush_id}", pb.StreamingRecognizeRequest(flush=flush))

    def add_update(self, update: pb.Update) -> None:
        """Add an update. Raises CallerMistake if one of its id is under way."""
        if update.HasField("results"):
            update.results.interim_results = self._config.results.interim_results
        self._add_marked(f"update {update.update_id}", pb.StreamingRecognizeRequest(update=update))

    def _add_marked(self, name: str, request: pb.StreamingRecognizeRequest) -> None:
        if name in self._unsettled:
            raise CallerMistake(f"{name} is still under way: wanted another id")
        self._unsettled[name] = self.log.append(request)

    def flush_done(self, flush_id: str) -> events.FlushDone | None:
        """Take the end of a flush, once, if it has come."""
        return self._flushes_done.pop(flush_id, None)

    # Calls

    def plan(self) -> CallPlan:
        """Say how a call begins that carries the stream from here on."""
        config = pb.RecognitionConfig()
        config.CopyFrom(self._config)
        if not self.started:
            return CallPlan(config, self.log.read_from_start(), self._base_s, resumed=False)
        reader, audio_from_s = self.log.read_from(self._heard_again_from_s - TOLERANCE_S - _CONTEXT_S)
        words_from_s = max(
            audio_from_s,
            self._heard_again_from_s - TOLERANCE_S,
            self._turns.words_from_s(self.cursors.finalized_s),
        )
        config.resume.CopyFrom(
            pb.Resume(
                audio_offset=to_duration(audio_from_s),
                words_from=to_duration(words_from_s),
                turn_index=self._turns.next_index(self.cursors.finalized_s),
            )
        )
        return CallPlan(config, reader, audio_from_s, resumed=True)

    def switch_to(self, plan: CallPlan) -> None:
        """Let responses come from the call of this plan from now on."""
        self._call_base_s = plan.base_s
        if plan.resumed:
            self._seam = Seam(self._delivered)

    @property
    def _heard_again_from_s(self) -> float:
        """Return from where words are wanted again: a turn under way ends only for who has heard a word of it."""
        finalized_s = self.cursors.finalized_s
        if self._turns.is_open(finalized_s) and self._delivered:
            return max(min(finalized_s, self._delivered[-1].start_s), finalized_s - _MOST_TURN_S)
        return finalized_s

    # Responses

    def take(self, response: pb.StreamingRecognizeResponse, request_id: str) -> events.Event | None:
        """Turn a response into an event; None for what was delivered before."""
        self._advance(messages.cursors(response.cursors))
        event = self._event(response, request_id)
        if event is not None:
            self._sequence += 1
        self.log.trim(self.cursors.finalized_s, self._heard_again_from_s - TOLERANCE_S - _CONTEXT_S)
        return event

    def _advance(self, heard: events.Cursors) -> None:
        """Move the cursors; a call that continues another begins behind it."""
        self.cursors = events.Cursors(
            max(self.cursors.received_s, heard.received_s),
            max(self.cursors.processed_s, heard.processed_s),
            max(self.cursors.finalized_s, heard.finalized_s),
        )

    def _event(self, response: pb.StreamingRecognizeResponse, request_id: str) -> events.Event | None:
        event: events.Event | None = None
        match response.WhichOneof("event"):
            case "session_started":
                event = self._session_started(response.session_started, request_id)
            case "result":
                event = self._result(response.result)
            case "turn":
                event = self._turn(response.turn)
            case "vad":
                event = self._vad(response.vad)
            case "flush_done":
                event = self._flush_done(response.flush_done)
            case "update_applied":
                event = self._update_applied(response.update_applied.update_id)
            case "go_away":
                time_left_s = to_seconds(response.go_away.time_left)
                event = events.GoAway(sequence=self._next, cursors=self.cursors, time_left_s=time_left_s)
            case "warning":
                event = self._warning(response.warning)
            case "session_ended":
                event = self._session_ended(response.session_ended)
        # Anything else is of a newer service.
        return event

    @property
    def _next(self) -> int:
        return self._sequence + 1

    def _session_started(self, message: pb.SessionStarted, request_id: str) -> events.Event:
        resumed, self.started = self.started, True
        return events.SessionStarted(
            sequence=self._next,
            cursors=self.cursors,
            session_id=message.session_id,
            model=message.model,
            delay_s=to_seconds(message.delay),
            frame_duration_s=to_seconds(message.frame_duration),
            pause_horizons_s=tuple(to_seconds(horizon) for horizon in message.pause_horizons),
            idle_timeout_s=to_seconds(message.idle_timeout),
            max_duration_s=to_seconds(message.max_duration),
            request_id=request_id,
            resumed=resumed,
        )

    def _result(self, message: pb.Result) -> events.Event | None:
        heard = messages.words(message.words)
        words = tuple(word for word in heard if self._seam.is_new(word, message.is_final))
        if heard and not words:
            return None
        if message.is_final:
            self._delivered.extend(words)
            self._words += len(words)
        self._turns.note_words(message.turn_index)
        return events.Result(
            sequence=self._next,
            cursors=self.cursors,
            turn_index=message.turn_index,
            is_final=message.is_final,
            words=words,
        )

    def _turn(self, message: pb.Turn) -> events.Event | None:
        offset_s = to_seconds(message.audio_offset)
        try:
            kind = events.TurnKind(message.event)
        except ValueError:
            return None
        if not self._turns.is_new(kind, message.turn_index, offset_s):
            return None
        return events.Turn(
            sequence=self._next,
            cursors=self.cursors,
            kind=kind,
            turn_index=message.turn_index,
            audio_offset_s=offset_s,
            probability=messages.probability(message),
        )

    def _vad(self, message: pb.Vad) -> events.Event | None:
        offset_s = to_seconds(message.audio_offset)
        if offset_s <= self._vad_until_s:
            return None
        self._vad_until_s = offset_s
        return events.Vad(
            sequence=self._next,
            cursors=self.cursors,
            audio_offset_s=offset_s,
            pause_probabilities=tuple(message.pause_probabilities),
        )

    def _flush_done(self, message: pb.FlushDone) -> events.Event | None:
        entry = self._unsettled.pop(f"flush {message.flush_id}", None)
        if entry is None:
            return None
        entry.settled = True
        done = events.FlushDone(
            sequence=self._next,
            cursors=self.cursors,
            flush_id=message.flush_id,
            audio_offset_s=to_seconds(message.audio_offset),
        )
        self._flushes_done[message.flush_id] = done
        return done

    def _update_applied(self, update_id: str) -> events.Event | None:
        entry = self._unsettled.pop(f"update {update_id}", None)
        if entry is None:
            return None
        entry.settled = True
        # A call that goes on after this begins with it.
        update = entry.request.update
        if update.HasField("results"):
            self._config.results.CopyFrom(update.results)
        if update.HasField("turns"):
            self._config.turns.CopyFrom(update.turns)
        return events.UpdateApplied(sequence=self._next, cursors=self.cursors, update_id=update_id)

    def _warning(self, message: pb.Warning) -> events.Event:
        try:
            code = events.WarningCode(message.code)
        except ValueError:
            code = events.WarningCode.UNSPECIFIED
        return events.Warning(sequence=self._next, cursors=self.cursors, code=code, message=message.message)

    def _session_ended(self, message: pb.SessionEnded) -> events.Event:
        self.ended = True
        return events.SessionEnded(
            sequence=self._next,
            cursors=self.cursors,
            audio_duration_s=self._call_base_s - self._base_s + to_seconds(message.audio_duration),
            words=self._words,
        )
