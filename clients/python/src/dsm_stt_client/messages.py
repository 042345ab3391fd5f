"""Between the typed API and the messages of speech.proto, both ways, without any state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dsm_stt_client import events
from dsm_stt_client.durations import optional_duration, to_duration, to_seconds
from dsm_stt_client.options import AudioFormat, ResumePoint, StreamConfig, TurnOptions
from dsm_stt_client.proto import speech_pb2 as pb


def audio_format(options: AudioFormat) -> pb.AudioFormat:
    """Make the message."""
    return pb.AudioFormat(
        encoding=pb.AudioEncoding.ValueType(options.encoding.value),
        sample_rate_hertz=options.sample_rate_hz,
        channels=options.channels,
    )


def turn_options(options: TurnOptions | None) -> pb.TurnOptions:
    """Make the message; None turns turns off."""
    if options is None:
        return pb.TurnOptions()
    return pb.TurnOptions(
        enabled=True,
        end_threshold=options.end_threshold,
        eager_end_threshold=options.eager_end_threshold,
        pause_horizon=optional_duration(options.pause_horizon_s),
        min_silence=optional_duration(options.min_silence_s),
        max_silence=optional_duration(options.max_silence_s),
        flush_on_end=options.flush_on_end,
    )


def result_options(interim_results: bool, vad_interval_s: float | None) -> pb.ResultOptions:
    """Make the message."""
    return pb.ResultOptions(interim_results=interim_results, vad_interval=optional_duration(vad_interval_s))


def resume(point: ResumePoint | None) -> pb.Resume | None:
    """Make the message; None stays absent."""
    if point is None:
        return None
    return pb.Resume(
        audio_offset=to_duration(point.audio_offset_s),
        words_from=to_duration(point.words_from_s),
        turn_index=point.turn_index,
    )


def stream_config(config: StreamConfig) -> pb.RecognitionConfig:
    """Make a stream's first message."""
    return pb.RecognitionConfig(
        model=config.model,
        audio_format=audio_format(config.audio_format),
        language_codes=config.language_codes,
        results=result_options(config.interim_results, config.vad_interval_s),
        turns=turn_options(config.turns),
        idle_timeout=optional_duration(config.idle_timeout_s),
        resume=resume(config.resume),
        labels=config.labels,
    )


def recording_config(
    model: str,
    given_format: AudioFormat | None,
    language_codes: Sequence[str],
    turns: TurnOptions | None,
    labels: Mapping[str, str] | None,
) -> pb.RecognitionConfig:
    """Make the config of a whole recording. given_format: None for what the file says."""
    return pb.RecognitionConfig(
        model=model,
        audio_format=None if given_format is None else audio_format(given_format),
        language_codes=language_codes,
        turns=turn_options(turns),
        labels=labels,
    )


def words(messages: Iterable[pb.Word]) -> tuple[events.Word, ...]:
    """Read words."""
    return tuple(
        events.Word(word.text, to_seconds(word.start_offset), to_seconds(word.end_offset)) for word in messages
    )


def cursors(message: pb.Cursors) -> events.Cursors:
    """Read cursors."""
    return events.Cursors(to_seconds(message.received), to_seconds(message.processed), to_seconds(message.finalized))


def probability(turn: pb.Turn) -> float | None:
    """Read what is absent when no pause head decided."""
    return turn.probability if turn.HasField("probability") else None


def transcript(response: pb.RecognizeResponse, request_id: str) -> events.Transcript:
    """Read the answer to a whole recording."""
    turns = tuple(
        events.TurnMark(events.TurnKind(turn.event), turn.turn_index, to_seconds(turn.audio_offset), probability(turn))
        for turn in response.turns
    )
    return events.Transcript(
        response.transcript,
        words(response.words),
        turns,
        to_seconds(response.audio_duration),
        response.model,
        response.session_id,
        request_id,
    )


def models(response: pb.ListModelsResponse) -> list[events.Model]:
    """Read a list of models."""
    return [
        events.Model(
            model.name,
            tuple(model.language_codes),
            to_seconds(model.delay),
            tuple(to_seconds(horizon) for horizon in model.pause_horizons),
            model.is_default,
            model.trained,
            model.slots_total,
            model.slots_free,
        )
        for model in response.models
    ]
