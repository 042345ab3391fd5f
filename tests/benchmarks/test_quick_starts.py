"""The commands of the clients' READMEs are found where the benchmark looks for them."""

from __future__ import annotations

import pytest

from benchmarks.quick_starts import CLIENTS, quick_start
from benchmarks.results import ROOT

README = """# A client

## Quick start

```bash
start
```

then

```bash
call
again
```

## More

```bash
other
```
"""


def test_a_block_of_the_quick_start_is_found_by_its_number() -> None:
    assert [quick_start(README, index) for index in range(2)] == ["start\n", "call\nagain\n"]
    with pytest.raises(ValueError, match="wanted 3 blocks of bash under 'Quick start', got 2"):
        quick_start(README, 2)


@pytest.mark.parametrize("name", CLIENTS)
def test_every_clients_quick_start_transcribes_a_sample(name: str) -> None:
    commands = quick_start((ROOT / "clients" / name / "README.md").read_text(encoding="utf-8"), CLIENTS[name])
    assert "models/dsm-tiny-en/samples/" in commands
