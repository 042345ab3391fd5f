"""Settings of an LM worker."""

from __future__ import annotations

from dataclasses import dataclass

from services.common.env import setting
from services.common.errors import ConfigError
from services.common.worker_serve import WorkerSettings

KV_DTYPES = ("auto", "float32", "bfloat16", "float8")


@dataclass(frozen=True, kw_only=True)
class LmConfig(WorkerSettings):
    """Settings of an LM worker, from DSM_… variables or flags."""

    listen: str = setting("DSM_LM_LISTEN", "host:port to listen on; port 0 for any", default="127.0.0.1:50062")
    model: str = setting(
        "DSM_LM_MODEL", "What to load: a model's name, a repository (name@revision) or a folder", default="dsm-tiny-en"
    )
    slots: int = setting("DSM_LM_SLOTS", "Sessions at once: rows of the batch", default=16)
    temperature: float = setting(
        "DSM_LM_TEMPERATURE", "0 takes the likeliest token, as the published scripts do; above, samples", default=0.0
    )

    kv_dtype: str = setting(
        "DSM_KV_DTYPE",
        "What keys and values are kept as: auto (as computed), float32, bfloat16 or float8 (e4m3, half of bfloat16)",
        default="auto",
    )

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        super().__post_init__()
        if not 1 <= self.slots <= 4096:
            raise ConfigError(f"DSM_LM_SLOTS: wanted 1 to 4096, got {self.slots}")
        if not 0 <= self.temperature <= 2:
            raise ConfigError(f"DSM_LM_TEMPERATURE: wanted 0 to 2, got {self.temperature}")
        if self.kv_dtype not in KV_DTYPES:
            raise ConfigError(f"DSM_KV_DTYPE: wanted one of {', '.join(KV_DTYPES)}, got {self.kv_dtype!r}")
