"""Residual vector quantisation while training: k-means start, moving averages, straight-through.

Follows the codebook learning of van den Oord et al. 2017 (arXiv:1711.00937, appendix A.1) and the
restart of unused entries of Dhariwal et al. 2020 (arXiv:2005.00341).
"""

import torch
from torch import Tensor, nn


class Codebooks(nn.Module):
    """A stack of codebooks, each coding what the ones before it left over.

    count: codebooks. bins: entries of each. dimension: of a vector.
    """

    entries: Tensor
    usage: Tensor
    sums: Tensor

    def __init__(self, count: int, bins: int, dimension: int, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("usage", torch.ones(count, bins))
        self.register_buffer("sums", torch.zeros(count, bins, dimension))

    @property
    def centroids(self) -> Tensor:
        """Entries of all codebooks: [count, bins, dimension]."""
        return self.sums / self.usage.clamp(min=1e-5)[..., None]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Quantise [N, dimension]; returns the sum of the chosen entries and the codes [N, count].

        Updates the averages in training mode. Gradients do not pass.
        """
        with torch.no_grad():
            residual = x.detach()
            quantised = torch.zeros_like(residual)
            codes = []
            for index, centroids in enumerate(self.centroids):
                chosen = nearest(residual, centroids)
                if self.training:
                    self._update(index, residual, chosen)
                entry = centroids[chosen]
                quantised += entry
                residual = residual - entry
                codes.append(chosen)
        return quantised, torch.stack(codes, 1)

    @torch.no_grad()
    def start(self, x: Tensor, rounds: int = 12) -> None:
        """Set all codebooks by k-means on [N, dimension], one after the other."""
        residual = x
        for index in range(len(self.usage)):
            bins = self.usage.shape[1]
            means = residual[torch.randperm(len(residual))[:bins]].clone()
            for _ in range(rounds):
                chosen = nearest(residual, means)
                counts = torch.bincount(chosen, minlength=bins).float()
                sums = torch.zeros_like(means).index_add_(0, chosen, residual)
                fresh = residual[torch.randint(len(residual), (bins,))]
                means = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], fresh)
            chosen = nearest(residual, means)
            counts = torch.bincount(chosen, minlength=bins).float().clamp(min=0.5)
            scale = 10.0 * bins / counts.sum()
            self.usage[index] = counts * scale
            self.sums[index] = means * self.usage[index][:, None]
            residual = residual - means[chosen]

    def _update(self, index: int, x: Tensor, chosen: Tensor) -> None:
        bins = self.usage.shape[1]
        counts = torch.bincount(chosen, minlength=bins).float()
        added = torch.zeros_like(self.sums[index]).index_add_(0, chosen, x)
        self.usage[index].mul_(self.decay).add_(counts, alpha=1 - self.decay)
        self.sums[index].mul_(self.decay).add_(added, alpha=1 - self.decay)
        mean = self.usage[index].mean()
        unused = self.usage[index] < 0.03 * mean
        if unused.any():
            fresh = x[torch.randint(len(x), (int(unused.sum()),), device=x.device)]
            self.usage[index, unused] = 0.3 * mean
            self.sums[index, unused] = fresh * (0.3 * mean)


def nearest(x: Tensor, centroids: Tensor) -> Tensor:
    """Return the index of the nearest centroid of each row: [N]."""
    distances = (centroids**2).sum(1)[None] - 2 * x @ centroids.T
    return distances.argmin(1)
