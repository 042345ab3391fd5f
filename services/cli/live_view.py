"""A session as a person watches it: a progress line, the words as they come, and the pause heads' bars."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from services.cli.console import err
from services.cli.transcript import Transcript

_BARS = " ▁▂▃▄▅▆▇█"
_REDRAW_EVERY_S = 0.08
# Lines that are not the transcript: a frame of empty ones, title and progress.
_OTHER_LINES = 6


class LiveView:
    """Draws on the terminal while its `with` lasts and leaves nothing behind; without a terminal, draws nothing."""

    def __init__(self, title: str, transcript: Transcript, duration_s: float | None) -> None:
        """duration_s: of the whole audio; None when nobody knows, as with a microphone."""
        self._title = title
        self._transcript = transcript
        self._duration_s = duration_s
        self._began_s = time.monotonic()
        self._drawn_s = 0.0
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(console=err, auto_refresh=False, transient=True) if err.is_terminal else None

    def redraw(self) -> None:
        """Draw what the transcript says now, if it is time again."""
        now_s = time.monotonic()
        if self._live is not None and now_s - self._drawn_s >= _REDRAW_EVERY_S:
            self._drawn_s = now_s
            self._live.update(self._drawing(now_s), refresh=True)

    def _drawing(self, now_s: float) -> RenderableType:
        return Padding(Group(self._heading(), self._progress(now_s), Text(), self._words()), (1, 2))

    def _heading(self) -> Text:
        heading = Text(self._title, style="bold")
        if self._transcript.model:
            heading.append(f"  {self._transcript.model}, delay {self._transcript.delay_s:.2f} s", "dim not bold")
        for horizon_s, probability in zip(
            self._transcript.pause_horizons_s, self._transcript.pause_probabilities, strict=False
        ):
            heading.append(f"  {horizon_s:g}s", "dim not bold")
            bar = _BARS[round(probability * (len(_BARS) - 1))]
            heading.append(bar, "bold green" if probability >= 0.5 else "yellow not bold")
        return heading

    def _progress(self, now_s: float) -> Table:
        row = Table.grid(padding=(0, 1))
        elapsed_s = max(now_s - self._began_s, 1e-3)
        heard = Text(_minutes(self._transcript.processed_s))
        speed = Text(f"{self._transcript.processed_s / elapsed_s:.1f}× real time", style="dim")
        if self._duration_s is None:
            row.add_row(self._spinner.render(now_s), heard)
        else:
            heard.append(f" / {_minutes(self._duration_s)}", "dim")
            done_s = min(self._transcript.processed_s, self._duration_s)
            bar = ProgressBar(self._duration_s, done_s, width=40, complete_style="cyan", finished_style="green")
            row.add_row(bar, heard, speed)
        return row

    def _words(self) -> Text:
        text = Text("\n".join(self._transcript.turns()))
        if self._transcript.interim:
            text.append(f" {self._transcript.interim}", "dim italic")
        text.append("▌", "cyan")
        lines = text.wrap(err, max(err.width - 4, 20))
        return Text("\n").join(lines[-max(err.height - _OTHER_LINES, 1) :])

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.update(Text(), refresh=True)
            self._live.stop()


def _minutes(duration_s: float) -> str:
    return f"{int(duration_s) // 60}:{int(duration_s) % 60:02}"
