"""Settings of a codec worker."""

from __future__ import annotations

from dataclasses import dataclass

from services.common.env import setting
from services.common.errors import ConfigError
from services.common.worker_serve import WorkerSettings


@dataclass(frozen=True, kw_only=True)
class CodecConfig(WorkerSettings):
    """Settings of a codec worker, from DSM_… variables or flags."""

    listen: str = setting("DSM_CODEC_LISTEN", "host:port to listen on; port 0 for any", default="127.0.0.1:50061")
    model: str = setting(
        "DSM_CODEC_MODEL",
        "Whose Mimi to load: a model's name, a repository (name@revision) or a folder",
        default="dsm-tiny-en",
    )
    slots: int = setting("DSM_CODEC_SLOTS", "Sessions at once: rows of the batch", default=16)

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        super().__post_init__()
        if self.dtype == "int8":
            raise ConfigError("DSM_DTYPE: int8 is for the LM: rounding changes codes")
        if not 1 <= self.slots <= 4096:
            raise ConfigError(f"DSM_CODEC_SLOTS: wanted 1 to 4096, got {self.slots}")
