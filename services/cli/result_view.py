"""A finished session on the terminal: the text, a table of words with their times, and what it took."""

from __future__ import annotations

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from services.cli.console import err, out
from services.cli.transcript import TimedWord, Transcript

_COLUMN_CHARACTERS = 34


def show_result(transcript: Transcript, with_words: bool) -> None:
    """Print the text and the words to stdout, the summary to stderr.

    When stdout is no terminal, a turn is a line, and a word a line of start, end and text between tabs.
    """
    if out.is_terminal:
        if transcript.words:
            out.print(Padding(Text("\n".join(transcript.turns())), (1, 2, 0, 2)))
        if with_words and transcript.words:
            out.print(Padding(_word_table(transcript.words), (1, 2, 0, 2)))
    else:
        for text in transcript.turns():
            print(text)
        for word in transcript.words if with_words else ():
            print(f"{word.start_s:.2f}\t{word.end_s:.2f}\t{word.text}")
    err.print(Padding(_summary(transcript), (1, 2)))


def _word_table(words: list[TimedWord]) -> Table:
    """Lay the words out in as many columns as fit, read downwards."""
    columns = max(1, min((out.width - 2) // _COLUMN_CHARACTERS, -(-len(words) // 8)))
    rows = -(-len(words) // columns)
    table = Table.grid(padding=(0, 1))
    for _column in range(columns):
        table.add_column(justify="right")
        table.add_column(justify="right")
        table.add_column(min_width=_COLUMN_CHARACTERS - 18)
    for row in range(rows):
        cells: list[Text] = []
        for word in words[row::rows]:
            cells += [
                Text(f"{word.start_s:.2f}", style="cyan"),
                Text(f"{word.end_s:.2f}", style="dim cyan"),
                Text(word.text),
            ]
        table.add_row(*cells)
    return table


def _summary(transcript: Transcript) -> Text:
    count = len(transcript.words)
    summary = Text(style="dim")
    summary.append(f"{transcript.audio_s:.1f} s of audio in {transcript.wall_s:.1f} s", "bold not dim")
    summary.append(
        f", {transcript.speed:.1f}× real time · {count} word{'' if count == 1 else 's'} · {transcript.model}"
    )
    if (latency := transcript.latency_s()) is not None:
        median_ms, high_ms = (round(value * 1000) for value in latency)
        summary.append(
            f"\nwords arrive {transcript.delay_s:.2f} s (the model's delay) + {median_ms} ms after they begin; "
            f"95% within + {high_ms} ms"
        )
    return summary
