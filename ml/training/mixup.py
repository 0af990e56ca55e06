"""Mixup: a batch in which each photo is mixed with another one (Zhang et al., "mixup", 2018)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Mixing:
    """Which row is mixed with which: `share` of each row stays, the rest is row `partner` (n). One share per batch."""

    share: float
    partner: Tensor

    def mix(self, maps: Tensor) -> Tensor:
        """Return the mixed pictures or maps (n, c, h, w); outputs of frozen stages can be mixed like pictures."""
        return maps.lerp(maps[self.partner.to(maps.device)], 1 - self.share)

    def partners(self, numbers: Tensor) -> Tensor:
        """Return the labels or items (n) of the partners."""
        return numbers[self.partner.to(numbers.device)]


def draw_mixing(alpha: float, photos: int, copies: int, rng: np.random.Generator) -> Mixing:
    """Return a mixing of a batch of (copies x photos) rows with a share of Beta(alpha, alpha), at least one half.

    All views of a photo are mixed with views of the same other photo, so that they stay views of one garment.
    """
    share = float(rng.beta(alpha, alpha))
    partner = rng.permutation(photos)
    rows = np.concatenate([partner + copy * photos for copy in range(copies)])
    return Mixing(max(share, 1 - share), torch.from_numpy(rows))
