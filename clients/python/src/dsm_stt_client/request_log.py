"""What a stream was given to send, in order, for as long as a call may still want it.

Each call that carries the stream reads the log with a Reader of its own. A stream that can resume keeps what a new
call would send again; others keep only what has not been sent. Nothing here waits: the streams do.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from dsm_stt_client.proto import speech_pb2 as pb

# Beyond these, `is_full`: unsent requests of a stream that cannot resume; all that one that can keeps.
_MOST_UNSENT = 32
_MOST_KEPT = 20_000
# Events carry the cursors, and nobody's speech causes none: so a stream that keeps audio sends an update that changes
# nothing, this often, for its answer to say how far the audio is final. The caller does not see it.
_PROBE_EVERY_S = 5.0
PROBE_ID = "dsm-stt-client-probe"


@dataclass(slots=True, eq=False)
class Entry:
    """One request and the audio it covers. settled: no call needs it, whatever it covers."""

    request: pb.StreamingRecognizeRequest
    start_s: float
    end_s: float
    settled: bool = False


class Reader:
    """One call's place in the log."""

    def __init__(self, log: RequestLog, index: int) -> None:
        self._log = log
        self.index = index

    def next(self) -> pb.StreamingRecognizeRequest | None:
        """Take the next request; None if there is none now."""
        while (entry := self._log.entry(self.index)) is not None:
            self.index += 1
            if not entry.settled:
                if entry.request.HasField("keep_alive") or entry.request.update.update_id == PROBE_ID:
                    entry.settled = True
                return entry.request
        return None

    @property
    def at_end(self) -> bool:
        """Tell whether nothing will come any more."""
        return self._log.closed and self._log.entry(self.index) is None

    def forget(self) -> None:
        """Give the place up: the call is over."""
        self._log.forget(self)


class RequestLog:
    """Positions are seconds of the caller's audio; indexes count requests since the stream began."""

    def __init__(self, base_s: float, most_kept_s: float | None) -> None:
        """base_s: where the audio begins. most_kept_s: of audio that is not final; None to keep nothing once sent."""
        self.end_s = base_s
        self.closed = False
        self._most_kept_s = most_kept_s
        self._entries: deque[Entry] = deque()
        self._first_index = 0
        self._readers: list[Reader] = []
        self._finalized_s = base_s
        self._probed_s = base_s

    def append(self, request: pb.StreamingRecognizeRequest, duration_s: float = 0.0) -> Entry:
        """Add a request that covers so much audio."""
        entry = Entry(request, self.end_s, self.end_s + duration_s)
        self.end_s = entry.end_s
        self._entries.append(entry)
        if self._most_kept_s is not None and self.end_s - self._probed_s >= min(_PROBE_EVERY_S, self._most_kept_s / 4):
            self._probed_s = self.end_s
            probe = pb.StreamingRecognizeRequest(update=pb.Update(update_id=PROBE_ID))
            self._entries.append(Entry(probe, self.end_s, self.end_s))
        return entry

    def entry(self, index: int) -> Entry | None:
        """Return what stands there, if it is there yet."""
        place = index - self._first_index
        return self._entries[place] if place < len(self._entries) else None

    @property
    def is_full(self) -> bool:
        """Tell whether to wait before more is added."""
        if self._most_kept_s is None:
            return self._first_index + len(self._entries) - self._read_index >= _MOST_UNSENT
        return self.end_s - self._finalized_s >= self._most_kept_s or len(self._entries) >= _MOST_KEPT

    def read_from_start(self) -> Reader:
        """Let a call read all that is kept."""
        return self._add_reader(self._first_index)

    def read_from(self, position_s: float) -> tuple[Reader, float]:
        """Let a call read from a request that begins there or a little before; returns where that is.

        Begins earlier when a flush or an update before it is not settled, later when nothing so old is kept.
        """
        index, start_s = self._first_index, self._entries[0].start_s if self._entries else self.end_s
        for place, entry in enumerate(self._entries):
            if entry.start_s > position_s:
                break
            index, start_s = self._first_index + place, entry.start_s
            if entry.start_s == entry.end_s and not entry.settled:
                break
        return self._add_reader(index), start_s

    def forget(self, reader: Reader) -> None:
        """Take a reader off whose call is over."""
        if reader in self._readers:
            self._readers.remove(reader)

    def trim(self, finalized_s: float, needed_from_s: float) -> None:
        """Let go of what no call will want: what is read and, if the stream can resume, lies before needed_from_s."""
        self._finalized_s = finalized_s
        while self._entries and self._first_index < self._read_index:
            oldest = self._entries[0]
            is_mark = oldest.start_s == oldest.end_s
            if self._most_kept_s is not None and not oldest.settled and (is_mark or oldest.end_s > needed_from_s):
                break
            self._entries.popleft()
            self._first_index += 1

    @property
    def _read_index(self) -> int:
        """Return up to where every call has read."""
        return min((reader.index for reader in self._readers), default=self._first_index)

    def _add_reader(self, index: int) -> Reader:
        reader = Reader(self, index)
        self._readers.append(reader)
        return reader
