"""From a matrix of features to what a network likes to read, inside the graph.

A model takes float32 features as they are assembled, missing values included; whatever
must be done to them is part of the model and travels with it. Every column is held
within the range seen in training (a window that has seen more days than any in training
must not lead the network where it has never been), given as it is and as a signed
logarithm, and scaled. A column that was missing in training also says so by itself.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

SEEN = (0.001, 0.999)  # the quantiles that bound a column
RARE = 0.001  # a column missing less often than this has no column of its own for it
_SMALL = 1e-30  # smaller numbers may have half a sign


class TabularInputs(nn.Module):
    """Clips, takes signed logarithms, scales and marks what is missing; `width` columns come out."""

    low: Tensor
    high: Tensor
    missing: Tensor
    marks: Tensor
    centre: Tensor
    scale: Tensor

    def __init__(self, low: Tensor, high: Tensor, missing: Tensor, marked: Tensor) -> None:
        super().__init__()
        self.register_buffer("low", low)
        self.register_buffer("high", high)
        # To compare all columns and to pick by a product takes half the time of picking them by their numbers.
        self.register_buffer("missing", torch.full_like(low, torch.nan).scatter(0, marked, missing))
        self.register_buffer("marks", nn.functional.one_hot(marked, low.numel()).T.to(low.dtype))
        self.register_buffer("centre", torch.zeros(2 * low.numel()))
        self.register_buffer("scale", torch.ones(2 * low.numel()))
        self.width = 2 * low.numel() + marked.numel()

    @classmethod
    def of(cls, matrix: np.ndarray, missing: np.ndarray) -> TabularInputs:
        """Learn ranges and scales from float32 [rows, columns]; `missing` is [columns], NaN where there is none."""
        low, high = np.quantile(matrix, SEEN, axis=0).astype(np.float32)
        share = (matrix == missing).mean(axis=0)
        # A count of 0 is both missing and a count: it needs no mark.
        marked = np.flatnonzero((share > RARE) & (share < 1 - RARE) & (missing != 0))
        inputs = cls(*map(torch.from_numpy, (low, high, missing[marked], marked)))
        spread = inputs._spread(torch.from_numpy(matrix))
        inputs.centre.copy_(spread.mean(0))
        deviation = spread.std(0)
        inputs.scale.copy_(torch.where(deviation > 1e-6, 1.0 / deviation, 1.0))
        return inputs

    def forward(self, features: Tensor) -> Tensor:
        scaled = (self._spread(features) - self.centre) * self.scale
        return torch.cat([scaled, (features == self.missing).to(features.dtype) @ self.marks], dim=1)

    def _spread(self, features: Tensor) -> Tensor:
        held = torch.minimum(torch.maximum(features, self.low), self.high)
        size = held.abs()
        # The quotient is the sign, in a tenth of its time.
        return torch.cat([held, held / size.clamp_min(_SMALL) * torch.log1p(size)], dim=1)
