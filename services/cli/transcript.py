"""What one session has said so far, gathered from its responses: the state that every view draws."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from google.protobuf.duration_pb2 import Duration

from dsm_stt.speech.v1 import speech_pb2


@dataclass(frozen=True)
class TimedWord:
    """One final word. Times are positions in the audio."""

    text: str
    start_s: float
    end_s: float
    turn: int
    # From the word's first sound to its arrival, less the model's delay; None when audio was not sent in real time.
    latency_s: float | None


@dataclass
class Transcript:
    """Fill it with `take`."""

    real_time: bool
    model: str = ""
    delay_s: float = 0.0
    pause_horizons_s: list[float] = field(default_factory=list)
    words: list[TimedWord] = field(default_factory=list)
    interim: str = ""
    pause_probabilities: list[float] = field(default_factory=list)
    processed_s: float = 0.0
    # When complete:
    audio_s: float = 0.0
    wall_s: float = 0.0

    def take(self, response: speech_pb2.StreamingRecognizeResponse, now_s: float) -> None:
        """Add a response that came now_s after the first sample was heard."""
        self.processed_s = max(self.processed_s, seconds(response.cursors.processed))
        match response.WhichOneof("event"):
            case "session_started":
                started = response.session_started
                self.model, self.delay_s = started.model, seconds(started.delay)
                self.pause_horizons_s = [seconds(horizon) for horizon in started.pause_horizons]
            case "result":
                self._take_result(response.result, now_s)
            case "vad":
                self.pause_probabilities = list(response.vad.pause_probabilities)
            case "session_ended":
                self.audio_s, self.wall_s = seconds(response.session_ended.audio_duration), now_s
                self.interim = ""

    def _take_result(self, result: speech_pb2.Result, now_s: float) -> None:
        if not result.is_final:
            self.interim = " ".join(word.text for word in result.words)
            return
        self.interim = ""
        for word in result.words:
            start_s = seconds(word.start_offset)
            latency_s = now_s - start_s - self.delay_s if self.real_time else None
            self.words.append(TimedWord(word.text, start_s, seconds(word.end_offset), result.turn_index, latency_s))

    @property
    def speed(self) -> float:
        """Return how many seconds of audio were transcribed in a second."""
        return self.audio_s / self.wall_s if self.wall_s > 0 else 0.0

    def turns(self) -> list[str]:
        """Return the text, a string a turn."""
        texts: dict[int, list[str]] = {}
        for word in self.words:
            texts.setdefault(word.turn, []).append(word.text)
        return [" ".join(text) for text in texts.values()]

    def latency_s(self) -> tuple[float, float] | None:
        """Return the median and the 95th percentile of the words' latency, if it was measured."""
        latencies = [word.latency_s for word in self.words if word.latency_s is not None]
        if len(latencies) < 2:
            return (latencies[0], latencies[0]) if latencies else None
        return statistics.median(latencies), statistics.quantiles(latencies, n=20, method="inclusive")[-1]


def seconds(duration: Duration) -> float:
    """Convert the API's durations."""
    return float(duration.seconds) + float(duration.nanos) / 1e9
