"""Mixup: a batch in which each photo is mixed with another one (Zhang et al., "mixup", 2018)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Mixing:
    """Who is mixed with whom: `share` of each row stays, the rest is its `partner`'s (rows). One share for a batch."""

    share: float
    partner: Tensor

    def mixed(self, maps: Tensor) -> Tensor:
        """Return the mixed maps (rows, c, h, w). What frozen stages made is mixed as well as pictures are."""
        return maps.lerp(maps[self.partner.to(maps.device)], 1 - self.share)

    def partners(self, numbers: Tensor) -> Tensor:
        """Return the labels (rows) of what is mixed in."""
        return numbers[self.partner.to(numbers.device)]


def draw_mixing(alpha: float, photos: int, copies: int, draw: np.random.Generator) -> Mixing:
    """Return a mixing of a batch of (copies x photos) rows with a share of Beta(alpha, alpha), at least one half.

    All views of a photo are mixed with views of the same other photo, so that they stay views of one thing.
    """
    share = float(draw.beta(alpha, alpha))
    partner = draw.permutation(photos)
    rows = np.concatenate([partner + copy * photos for copy in range(copies)])
    return Mixing(max(share, 1 - share), torch.from_numpy(rows))
