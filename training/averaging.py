"""A moving average of the weights of a run; exported instead of the last ones, which follow the last batches.

Source: Polyak and Juditsky 1992, "Acceleration of stochastic approximation by averaging"; exponential as usual today.
"""

import torch
from torch import Tensor, nn

UPDATE_EVERY = 10
"""Steps of the averaging process between two updates; others are too alike to be worth the copy."""


class Average:
    """The average of a module's parameters and buffers.

    decay: part that is kept at an update; 0.97 looks back about 33 updates.
    """

    def __init__(self, module: nn.Module, decay: float = 0.97) -> None:
        self.decay = decay
        self.state = {key: value.detach().clone() for key, value in module.state_dict().items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from a saved average."""
        for key, value in state.items():
            self.state[key].copy_(value)

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take the module's present weights in."""
        for key, value in module.state_dict().items():
            if value.is_floating_point():
                self.state[key].lerp_(value, 1 - self.decay)
            else:
                self.state[key].copy_(value)
