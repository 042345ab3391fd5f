# ruff: noqa: S607 - the engines are packages of the system, found on its path
"""Engines that are programs: espeak-ng, festival (diphone, HTS), flite; packages of Debian."""

import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from training.resampling import resampled
from training.voices.manner import Manner, Plain

ESPEAK_TEST = ("Alicia", "Marco", "Lee", "linda", "victor", "m8", "f5", "klatt5")
ESPEAK_DEVELOPMENT = ("Andy", "steph3", "m4", "f2", "john", "Mike")
_ESPEAK_UNUSED = (
    *("whisper", "whisperf", "croak", "Demonic", "fast", "Tweaky", "UniRobot"),
    *(f"robosoft{n}" for n in ("", 2, 3, 4, 5, 6, 7, 8)),
)
_ACCENTS = ("en-us", "en-us", "en-us", "en-gb", "en-gb-x-rp", "en-us-nyc", "en-gb-scotland")


def espeak_variants() -> list[str]:
    """Return the variants that training uses: all but the held-out and the inhuman ones."""
    folder = next(Path("/usr/lib").glob("*/espeak-ng-data/voices/!v"))
    skipped = {*ESPEAK_TEST, *ESPEAK_DEVELOPMENT, *_ESPEAK_UNUSED}
    return sorted(path.name for path in folder.iterdir() if path.name not in skipped and " " not in path.name)


def _read(path: Path) -> NDArray[np.float32]:
    pcm, rate = soundfile.read(path, dtype="float32")
    return resampled(pcm, rate, 24000)


class Espeak:
    """Formant voices; each utterance draws a variant, a pitch and a speed."""

    def __init__(
        self, seed: int, variants: list[str], accents: tuple[str, ...] = _ACCENTS, manner: Manner | None = None
    ) -> None:
        self.random = np.random.default_rng(seed)
        self.variants = variants
        self.accents = accents
        self.manner = manner or Plain()

    def speak(self, text: str) -> tuple[NDArray[np.float32], str]:
        """Return 24 kHz speech and the name of the variant."""
        voice = f"{self.random.choice(self.accents)}+{self.random.choice(self.variants)}"
        pitch, speed = self.random.integers(25, 80), self.random.integers(110, 215)
        speed = round(speed / self.manner.stretch(self.random, text))
        gap = self.random.integers(0, 3)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "speech.wav"
            subprocess.run(
                ["espeak-ng", "-v", voice, "-p", str(pitch), "-s", str(speed), "-g", str(gap),
                 "-w", str(path), self.manner.ended(self.random, text)], check=True, capture_output=True,
            )  # fmt: skip
            return _read(path), f"espeak {voice} {pitch} {speed}"


class Flite:
    """Statistical voices of people: awb (Scotland), rms and slt (United States)."""

    def __init__(
        self, seed: int, voices: tuple[str, ...] = ("awb", "rms", "slt"), manner: Manner | None = None
    ) -> None:
        self.random = np.random.default_rng(seed)
        self.manner = manner or Plain()
        self.voices = voices

    def speak(self, text: str) -> tuple[NDArray[np.float32], str]:
        """Return 24 kHz speech and the name of the variation."""
        voice = str(self.random.choice(self.voices))
        tempo = self.random.uniform(0.75, 1.35) * self.manner.stretch(self.random, text)
        pitch = {"awb": 125, "rms": 100, "slt": 180}[voice] * self.random.uniform(0.8, 1.25)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "speech.wav"
            subprocess.run(
                ["flite", "-voice", voice, "--setf", f"duration_stretch={tempo:.2f}", "--setf",
                 f"int_f0_target_mean={pitch:.0f}", "-t", self.manner.ended(self.random, text), "-o", str(path)],
                check=True, capture_output=True,
            )  # fmt: skip
            return _read(path), f"flite {voice} {tempo:.2f} {pitch:.0f}"


class Festival:
    """Diphone and HTS voices; one process a batch, since starting it is slow."""

    def __init__(self, seed: int, voices: tuple[str, ...], manner: Manner | None = None) -> None:
        self.random = np.random.default_rng(seed)
        self.manner = manner or Plain()
        self.voices = voices

    def speak_all(self, texts: list[str]) -> list[tuple[NDArray[np.float32], str]]:
        """Return 24 kHz speech and the name of the variation for each text."""
        with tempfile.TemporaryDirectory() as folder:
            lines, names = [], []
            for index, text in enumerate(texts):
                voice = str(self.random.choice(self.voices))
                tempo = self.random.uniform(0.8, 1.3) * self.manner.stretch(self.random, text)
                names.append(f"festival {voice} {tempo:.2f}")
                lines += [f"(voice_{voice})", f"(Parameter.set 'Duration_Stretch {tempo:.2f})"]
                if self.manner.varied:
                    lines.append(self._melody())
                said = self.manner.ended(self.random, text)
                lines.append(f'(utt.save.wave (utt.synth (Utterance Text "{said}")) "{folder}/{index}.wav")')
            script = Path(folder) / "batch.scm"
            script.write_text("\n".join(lines))
            subprocess.run(["festival", "-b", str(script)], check=False, capture_output=True)
            return [
                (_read(Path(folder) / f"{index}.wav"), name)
                for index, name in enumerate(names)
                if (Path(folder) / f"{index}.wav").exists()
            ]

    def _melody(self) -> str:
        """Return the setting of a random mean and deviation of a diphone voice's pitch in Hz."""
        mean, deviation = self.random.uniform(80, 150), self.random.uniform(4, 28)
        # The model's are those of the speaker whose melodies were learned.
        return (
            f"(set! int_lr_params '((target_f0_mean {mean:.0f}) (target_f0_std {deviation:.0f})"
            " (model_f0_mean 170) (model_f0_std 34)))"
        )
