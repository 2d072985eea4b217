"""A training loop for networks on feature matrices: early stopping, fixed seeds, no surprises.

The module gives one logit per row; an ensemble gives each member's while training, [rows,
members]. Early stopping watches average precision on rows held out, which must be later in
time than those learnt from. The same seed, data and number of threads give the same weights;
the process's own random state is left as it was.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch import nn

Progress = Callable[[str, float], None]  # what is being done, and which share of it is done


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train. `positive_weight` counts every positive row so many times."""

    epochs: int = 15
    batch: int = 512
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    patience: int = 4
    positive_weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Fit:
    """How training went: the epoch whose weights were kept, and its average precision on the held-out rows."""

    epochs: int
    best_epoch: int
    average_precision: float
    seconds: float


@contextmanager
def repeatable(seed: int, threads: int = 1) -> Iterator[None]:
    """Fix torch's random state and number of threads within the block, and put both back after it."""
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def fit(
    module: nn.Module,
    matrix: np.ndarray,
    labels: np.ndarray,
    held_out: tuple[np.ndarray, np.ndarray],
    recipe: Recipe = Recipe(),
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Fit:
    """Train `module` in place and leave it with the best epoch's weights, in evaluation mode.

    `matrix` is float32 [rows, columns], `labels` 0 or 1 [rows]; `held_out` is a later matrix
    with its labels. Raises ValueError where either has no positive row.
    """
    _check(labels, held_out[1])
    began, best, best_epoch, kept, epoch = time.perf_counter(), -1.0, 0, module.state_dict(), 0
    with repeatable(seed):
        steps = _Steps(module, matrix, labels, recipe)
        for epoch in range(1, recipe.epochs + 1):
            steps.epoch()
            score = float(average_precision_score(held_out[1], logits(module, held_out[0])))
            if score > best:
                best, best_epoch, kept = score, epoch, copy.deepcopy(module.state_dict())
            if progress:
                progress("training", epoch / recipe.epochs)
            if epoch - best_epoch >= recipe.patience:
                break
    module.load_state_dict(kept)
    module.eval()
    return Fit(epoch, best_epoch, best, time.perf_counter() - began)


def logits(module: nn.Module, matrix: np.ndarray) -> np.ndarray:
    """Return the module's answers in evaluation mode, float32 [rows]."""
    module.eval()
    with torch.inference_mode():
        return module(torch.from_numpy(np.ascontiguousarray(matrix, dtype=np.float32))).numpy()


class _Steps:
    """One optimiser and its schedule over shuffled batches."""

    def __init__(self, module: nn.Module, matrix: np.ndarray, labels: np.ndarray, recipe: Recipe) -> None:
        self._module, self._batch = module, recipe.batch
        self._matrix = torch.from_numpy(np.ascontiguousarray(matrix, dtype=np.float32))
        self._labels = torch.from_numpy(labels.astype(np.float32))
        self._loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(recipe.positive_weight))
        self._optimiser = torch.optim.AdamW(
            module.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        batches = -(-labels.size // recipe.batch)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimiser, recipe.learning_rate, total_steps=recipe.epochs * batches
        )

    def epoch(self) -> None:
        self._module.train()
        for rows in torch.randperm(self._labels.numel()).split(self._batch):
            self._optimiser.zero_grad()
            given, wanted = self._module(self._matrix[rows]), self._labels[rows]
            if given.ndim == 2:  # an ensemble: every member learns the same rows by itself
                wanted = wanted.unsqueeze(1).expand_as(given)
            self._loss(given, wanted).backward()
            self._optimiser.step()
            self._schedule.step()


def _check(labels: np.ndarray, later: np.ndarray) -> None:
    if not labels.any() or not later.any():
        raise ValueError(
            f"{int(labels.sum())} of {labels.size} rows to learn from and {int(later.sum())} of {later.size} "
            "held-out rows are positive, needs at least one in each: take a longer period"
        )
