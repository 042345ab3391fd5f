"""The responses of a session as one JSON object a line, for programs: times in seconds, names as in the API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from dsm_stt.speech.v1 import speech_pb2
from services.cli.failure import CallFailed
from services.cli.transcript import Transcript, seconds


def response_lines(source: str, response: speech_pb2.StreamingRecognizeResponse) -> Iterator[str]:
    """Yield a line an event; a final result has a line a word. source: the file, or "mic"."""
    for event, fields in _events(response):
        yield _line(source, event, fields)


def summary_line(source: str, transcript: Transcript) -> str:
    """Return the last line of a session: how much, how fast."""
    latency = transcript.latency_s()
    return _line(
        source,
        "summary",
        {
            "model": transcript.model,
            "audio_s": transcript.audio_s,
            "wall_s": transcript.wall_s,
            "speed": transcript.speed,
            "words": len(transcript.words),
            "delay_s": transcript.delay_s,
            "latency_median_s": latency and latency[0],
            "latency_p95_s": latency and latency[1],
            "text": "\n".join(transcript.turns()),
        },
    )


def error_line(source: str, failure: CallFailed) -> str:
    """Return the last line of a session that failed."""
    fields = {"reason": failure.reason, "message": failure.message, "next_step": failure.next_step}
    return _line(source, "error", fields)


def _line(source: str, event: str, fields: dict[str, Any]) -> str:
    rounded = {key: round(value, 4) if isinstance(value, float) else value for key, value in fields.items()}
    return json.dumps({"event": event, "source": source, **rounded}, ensure_ascii=False)


def _events(response: speech_pb2.StreamingRecognizeResponse) -> Iterator[tuple[str, dict[str, Any]]]:
    event = response.WhichOneof("event") or "none"
    match event:
        case "session_started":
            started = response.session_started
            horizons_s = [seconds(horizon) for horizon in started.pause_horizons]
            yield (
                event,
                {
                    "session_id": started.session_id,
                    "model": started.model,
                    "delay_s": seconds(started.delay),
                    "pause_horizons_s": horizons_s,
                },
            )
        case "result":
            result = response.result
            words = [_word(word) for word in result.words]
            if result.is_final:
                yield from (("word", {**word, "turn": result.turn_index}) for word in words)
            else:
                yield "interim", {"turn": result.turn_index, "words": words}
        case "turn":
            turn = response.turn
            kind = speech_pb2.TurnEvent.Name(turn.event).removeprefix("TURN_EVENT_").lower()
            probability = turn.probability if turn.HasField("probability") else None
            at_s = seconds(turn.audio_offset)
            yield event, {"kind": kind, "turn": turn.turn_index, "at_s": at_s, "probability": probability}
        case "vad":
            probabilities = [round(probability, 4) for probability in response.vad.pause_probabilities]
            yield event, {"at_s": seconds(response.vad.audio_offset), "pause_probabilities": probabilities}
        case "warning":
            code = speech_pb2.WarningCode.Name(response.warning.code).removeprefix("WARNING_CODE_").lower()
            yield event, {"code": code, "message": response.warning.message}
        case "go_away":
            yield event, {"time_left_s": seconds(response.go_away.time_left)}
        case "session_ended":
            ended = response.session_ended
            yield event, {"audio_s": seconds(ended.audio_duration), "words": ended.words}
        case _:
            yield event, {}


def _word(word: speech_pb2.Word) -> dict[str, Any]:
    start_s, end_s = round(seconds(word.start_offset), 3), round(seconds(word.end_offset), 3)
    return {"text": word.text, "start_s": start_s, "end_s": end_s}
