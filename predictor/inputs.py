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


class TabularInputs(nn.Module):
    """Clips, takes signed logarithms, scales and marks what is missing; `width` columns come out."""

    low: Tensor
    high: Tensor
    missing: Tensor
    marked: Tensor
    centre: Tensor
    scale: Tensor

    def __init__(self, low: Tensor, high: Tensor, missing: Tensor, marked: Tensor) -> None:
        super().__init__()
        self.register_buffer("low", low)
        self.register_buffer("high", high)
        self.register_buffer("missing", missing)
        self.register_buffer("marked", marked)
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
        marks = (features.index_select(1, self.marked) == self.missing).to(features.dtype)
        return torch.cat([scaled, marks], dim=1)

    def _spread(self, features: Tensor) -> Tensor:
        held = torch.minimum(torch.maximum(features, self.low), self.high)
        return torch.cat([held, torch.sign(held) * torch.log1p(held.abs())], dim=1)
