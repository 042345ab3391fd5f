"""The device an engine computes on, from its name in the settings."""

from __future__ import annotations

import torch

from services.common.errors import ConfigError


def choose_device(name: str) -> torch.device:
    """Return the device of a name: "cpu", "cuda", "cuda:1"; "auto" is cuda if there is one, else cpu.

    Raises ConfigError if there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError(f"device: wanted {name}, torch sees no CUDA device")
        # CUDA graphs are captured on the current device.
        torch.cuda.set_device(device)
    return device
