"""Puts the benchmarks' figures into docs/performance.md, between its marks. `make performance-doc` calls it.

A test renders the page again and fails if it says anything else, so no figure there can be stale or made up.

    <!-- figures: load -->          the part's name; what is between the marks is written here
    <!-- end of figures -->
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from benchmarks import performance_tables as tables
from benchmarks.results import RESULTS, ROOT, read

PAGE = ROOT / "docs" / "performance.md"
_PART = re.compile(r"<!-- figures: ([\w.-]+) -->\n.*?<!-- end of figures -->", re.DOTALL)
# Which file a part is made from, and how. `steps` is made from every step*.json, `sizes` from none.
_PARTS: dict[str, tuple[str, Callable[[tables.Result], str]]] = {
    "load": ("load", tables.load),
    "gateway": ("load", tables.gateway),
    "file": ("file", tables.file),
}


def render(page: str, results: Path = RESULTS) -> str:
    """Return the page with every part written anew. Raises KeyError for a part that is unknown."""
    return _PART.sub(
        lambda found: f"<!-- figures: {found[1]} -->\n\n{_part(found[1], results)}\n\n<!-- end of figures -->", page
    )


def _part(name: str, results: Path) -> str:
    if name == "sizes":
        return tables.sizes()
    if name == "steps":
        files = sorted(results.glob("step*.json"), key=lambda file: file.stem)
        parts = [_measured(file, tables.step) for file in files]
        return "\n\n".join(parts) or _missing("step")
    source, table = _PARTS[name]
    file = results / f"{source}.json"
    return _measured(file, table) if file.is_file() else _missing(source)


def _measured(file: Path, table: Callable[[tables.Result], str]) -> str:
    result = read(file)
    plot = file.with_suffix(".svg")
    image = f"\n\n![{file.stem}](../benchmarks/results/{plot.name})" if plot.is_file() else ""
    return f"{tables.origin(result)}\n\n{table(result)}{image}"


def _missing(name: str) -> str:
    return f"Not measured yet: `make bench-{name}`, then `make performance-doc`."


def main() -> None:
    """Write the page."""
    before = PAGE.read_text(encoding="utf-8")
    after = render(before)
    PAGE.write_text(after, encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {'changed' if after != before else 'as it was'}")


if __name__ == "__main__":
    main()
