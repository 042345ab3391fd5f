"""`python -m tests.deploy.render_all FOLDER`: write what is linted, every overlay alone and with all components."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.deploy.renderings import ALWAYS, OVERLAYS, Rendering, added, rendered


def main(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for overlay in OVERLAYS:
        (folder / f"{overlay}.yaml").write_text(rendered(Rendering(overlay)))
        everything = Rendering(overlay, added(overlay, (*ALWAYS, "hpa", "several-models/hpa")))
        (folder / f"{overlay}-with-everything.yaml").write_text(rendered(everything))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
