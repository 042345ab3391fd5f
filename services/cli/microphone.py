"""The microphone as a stream of 16-bit mono samples, through PortAudio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

from services.cli.clock import Clock
from services.common.framing import FRAME_S, SAMPLE_RATE_HZ

_LOWEST_HZ, _HIGHEST_HZ = 8_000, 48_000


class NoMicrophone(Exception):
    """Nothing to record with; the text says what is missing, `next_step` what to do."""

    def __init__(self, message: str, next_step: str) -> None:
        super().__init__(message)
        self.next_step = next_step


class AudioSystem(Protocol):
    """What is used of the module sounddevice."""

    def query_devices(self, device: int | str | None = None, kind: str | None = None) -> Any: ...  # noqa: D102
    def RawInputStream(self, **options: Any) -> AbstractContextManager[Any]: ...  # noqa: D102, N802


class Microphone:
    """One input device."""

    def __init__(self, system: AudioSystem, device: int | str | None) -> None:
        """device: its number or a part of its name; None for the default one. Raises NoMicrophone."""
        try:
            found = system.query_devices(device, "input")
        except (ValueError, OSError, RuntimeError) as error:
            # sounddevice.PortAudioError is an Exception of its own, but only when the library is there to raise it.
            raise _no_device(error) from None
        except Exception as error:
            if type(error).__name__ != "PortAudioError":
                raise
            raise _no_device(error) from None
        self.name = str(found["name"])
        rate_hz = int(found["default_samplerate"])
        self.rate_hz = rate_hz if _LOWEST_HZ <= rate_hz <= _HIGHEST_HZ else SAMPLE_RATE_HZ
        self._system = system
        self._device = device

    async def pieces(self, stopping: asyncio.Event, clock: Clock) -> AsyncIterator[bytes]:
        """Record in pieces of 80 ms until `stopping` is set. Starts the clock."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[bytes | None] = asyncio.Queue()

        def take(samples: Any, _count: int, _time: Any, _status: Any) -> None:
            # PortAudio calls this in a thread of its own.
            loop.call_soon_threadsafe(pieces.put_nowait, bytes(samples))

        stopper = asyncio.create_task(stopping.wait())
        stopper.add_done_callback(lambda _task: pieces.put_nowait(None))
        options = {
            "samplerate": self.rate_hz,
            "blocksize": round(self.rate_hz * FRAME_S),
            "device": self._device,
            "channels": 1,
            "dtype": "int16",
            "callback": take,
        }
        try:
            with self._system.RawInputStream(**options):
                clock.start()
                while (piece := await pieces.get()) is not None:
                    yield piece
        finally:
            stopper.cancel()


def load_audio_system() -> AudioSystem:
    """Import sounddevice. Raises NoMicrophone when PortAudio is not installed."""
    try:
        import sounddevice  # noqa: PLC0415  # loads PortAudio, which only `mic` needs
    except OSError:
        raise NoMicrophone(
            "recording needs the PortAudio library, which is not installed",
            "On Debian and Ubuntu: apt-get install libportaudio2. On macOS: brew install portaudio.",
        ) from None
    except ModuleNotFoundError:
        raise NoMicrophone("recording needs the Python package sounddevice", "make setup installs it.") from None
    system: AudioSystem = sounddevice
    return system


def _no_device(error: Exception) -> NoMicrophone:
    return NoMicrophone(
        f"no such microphone: {error}",
        "dsm-stt mic --list-devices shows what there is; dsm-stt transcribe takes files.",
    )
