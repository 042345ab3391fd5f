"""Audio as callers send it to what the codec wants: 24 kHz mono float32."""

from services.gateway.audio.files import iter_file
from services.gateway.audio.formats import AudioFormat, Encoding
from services.gateway.audio.stream import AudioStream

__all__ = ["AudioFormat", "AudioStream", "Encoding", "iter_file"]
