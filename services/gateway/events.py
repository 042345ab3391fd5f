"""Responses, one maker an event; the outbox adds sequence and cursors."""

from __future__ import annotations

from collections.abc import Sequence

from dsm_stt.speech.v1 import speech_pb2
from services.common.framing import FRAME_MS
from services.gateway.config import GatewayConfig
from services.gateway.durations import from_ms, from_samples, from_seconds
from services.gateway.session_options import SessionOptions
from services.gateway.turns import TurnChange, TurnKind

Response = speech_pb2.StreamingRecognizeResponse

_TURN_EVENTS = {
    TurnKind.START: speech_pb2.TURN_EVENT_START,
    TurnKind.EAGER_END: speech_pb2.TURN_EVENT_EAGER_END,
    TurnKind.RESUMED: speech_pb2.TURN_EVENT_RESUMED,
    TurnKind.END: speech_pb2.TURN_EVENT_END,
}


def session_started(session_id: str, options: SessionOptions, limits: GatewayConfig) -> Response:
    """Make the first response of a session."""
    model = options.model
    return Response(
        session_started=speech_pb2.SessionStarted(
            session_id=session_id,
            model=model.name,
            delay=from_ms(model.delay_frames * FRAME_MS),
            frame_duration=from_ms(FRAME_MS),
            pause_horizons=[from_ms(horizon) for horizon in model.pause_horizons_ms],
            idle_timeout=from_seconds(options.idle_timeout_s),
            max_duration=from_seconds(limits.max_duration_s),
        )
    )


def word(text: str, start_samples: int, end_samples: int) -> speech_pb2.Word:
    """Make a word."""
    return speech_pb2.Word(text=text, start_offset=from_samples(start_samples), end_offset=from_samples(end_samples))


def result(turn_index: int, is_final: bool, words: Sequence[speech_pb2.Word]) -> Response:
    """Make a result."""
    return Response(result=speech_pb2.Result(turn_index=turn_index, is_final=is_final, words=words))


def turn(change: TurnChange) -> Response:
    """Make a turn event."""
    return Response(
        turn=speech_pb2.Turn(
            event=_TURN_EVENTS[change.kind],
            turn_index=change.turn_index,
            audio_offset=from_samples(change.position_samples),
            probability=change.probability,
        )
    )


def vad(position_samples: int, pauses: Sequence[float]) -> Response:
    """Make a VAD frame."""
    return Response(vad=speech_pb2.Vad(audio_offset=from_samples(position_samples), pause_probabilities=pauses))


def flush_done(flush_id: str, position_samples: int) -> Response:
    """Make the answer to a flush."""
    return Response(flush_done=speech_pb2.FlushDone(flush_id=flush_id, audio_offset=from_samples(position_samples)))


def update_applied(update_id: str) -> Response:
    """Make the answer to an update."""
    return Response(update_applied=speech_pb2.UpdateApplied(update_id=update_id))


def go_away(time_left_s: float) -> Response:
    """Make the notice that the gateway stops."""
    return Response(go_away=speech_pb2.GoAway(time_left=from_seconds(time_left_s)))


def warning(code: speech_pb2.WarningCode.ValueType, message: str) -> Response:
    """Make a warning."""
    return Response(warning=speech_pb2.Warning(code=code, message=message))


def session_ended(audio_samples: int, words: int) -> Response:
    """Make the last response of a session."""
    return Response(session_ended=speech_pb2.SessionEnded(audio_duration=from_samples(audio_samples), words=words))
