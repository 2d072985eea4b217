"""The fraud model: a small network over the view's columns, and the regression it must beat.

Frauds are rare, so each counts several times while training. A network trained with
positives counted w times answers logit(p) + log w where p is the probability asked for;
log w is taken off again inside the graph, so that its answers remain probabilities.
Thresholds and calibration therefore survive the weighting.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from applications.fraud.metrics import card_precision, metrics
from headrace.features import DAY, FeatureView
from predictor.inputs import TabularInputs
from predictor.train import Fit, Recipe, fit, repeatable

__all__ = [
    "OUTPUT",
    "FraudNet",
    "Trained",
    "card_precision",
    "logistic_baseline",
    "metrics",
    "positive_weight",
    "train",
]

OUTPUT = "fraud_probability"
HIDDEN = (64, 32)
DROPOUT = 0.1
HELD_OUT = 0.2  # the last part of the training period, for early stopping


class FraudNet(nn.Module):
    """Gives one fraud logit per row while training, and the probability when it is exported."""

    def __init__(self, inputs: TabularInputs, positive_weight: float = 1.0) -> None:
        super().__init__()
        widths = (inputs.width, *HIDDEN)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.GELU(), nn.Dropout(DROPOUT)]
        self.inputs = inputs
        self.network = nn.Sequential(*layers, nn.Linear(HIDDEN[-1], 1))
        self.correction: float = math.log(positive_weight)

    def forward(self, features: Tensor) -> Tensor:
        return self.network(self.inputs(features)).squeeze(1)


class Probability(nn.Module):
    """The trained network as it is served: float32 [rows, columns] to the probability of fraud, [rows]."""

    def __init__(self, network: FraudNet) -> None:
        super().__init__()
        self.network: FraudNet = network

    def forward(self, features: Tensor) -> Tensor:
        return torch.sigmoid(self.network(features) - self.network.correction)


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model: the module to export, its columns, and how and on what it was trained."""

    module: nn.Module
    columns: tuple[str, ...]
    fit: Fit
    held_out: dict[str, float]  # metrics on the rows that decided when to stop: a little flattered
    trained_on: dict[str, int]  # from and to in epoch milliseconds, rows, frauds

    def score(self, matrix: np.ndarray) -> np.ndarray:
        """Return the probability of fraud of each row, float32."""
        return _score(self.module, matrix)


def train(
    view: FeatureView,
    matrix: np.ndarray,
    labels: np.ndarray,
    times: np.ndarray,
    cards: np.ndarray,
    *,
    seed: int = 0,
    recipe: Recipe | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Trained:
    """Train on rows in time order: float32 [rows, columns of the view], labels 0 or 1, epoch milliseconds, cards.

    The last fifth of the rows decides when to stop, and is measured into `held_out`. A view with fewer columns
    (`view.without(...)`) trains the same way, for ablations.
    """
    _check(view, matrix, labels, times)
    split = int(labels.size * (1 - HELD_OUT))
    recipe = recipe or Recipe(positive_weight=positive_weight(labels))
    with repeatable(seed):
        network = FraudNet(TabularInputs.of(matrix[:split], view.missing), recipe.positive_weight)
    how = fit(
        network,
        matrix[:split],
        labels[:split],
        (matrix[split:], labels[split:]),
        recipe,
        seed=seed,
        progress=progress,
    )
    seen = {"from": int(times[0]), "to": int(times[-1]), "rows": int(labels.size), "frauds": int(labels.sum())}
    module = Probability(network).eval()
    later = metrics(labels[split:], _score(module, matrix[split:]), times[split:] // DAY, cards[split:])
    return Trained(module, view.names, how, later, seen)


def positive_weight(labels: np.ndarray) -> float:
    """Return how often a fraud counts: the square root of what would balance the classes, at most 10.

    >>> positive_weight(np.array([1, 0, 0, 0, 0]))
    2.0
    """
    positive = max(int(labels.sum()), 1)
    return float(np.clip(np.sqrt((labels.size - positive) / positive), 1.0, 10.0))


def logistic_baseline(matrix: np.ndarray, labels: np.ndarray, *, balanced: bool = False) -> Pipeline:
    """Return the regression to beat, fitted on the same matrix: scikit-learn's, on scaled columns.

    `balanced` weighs the classes equally, which ranks worse here and gives no probabilities.
    """
    weight = "balanced" if balanced else None
    return make_pipeline(StandardScaler(), LogisticRegression(class_weight=weight, max_iter=1000)).fit(matrix, labels)


def _score(module: nn.Module, matrix: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return module(torch.from_numpy(np.ascontiguousarray(matrix, dtype=np.float32))).numpy()


def _check(view: FeatureView, matrix: np.ndarray, labels: np.ndarray, times: Sequence[int] | np.ndarray) -> None:
    if matrix.ndim != 2 or matrix.shape != (len(labels), len(view.names)) or len(times) != len(labels):
        raise ValueError(
            f"matrix has shape {matrix.shape} for {len(labels)} labels and {len(times)} times, "
            f"needs ({len(labels)}, {len(view.names)}): one column per column of view {view.name!r}"
        )
    spoiled = [name for name, bad in zip(view.names, ~np.isfinite(matrix).all(axis=0), strict=True) if bad]
    if spoiled:
        raise ValueError(f"columns {', '.join(spoiled)} hold NaN or infinity, needs declared missing values filled in")
    if np.any(np.diff(np.asarray(times)) < 0):
        raise ValueError("rows are not in order of time, needs it: the last fifth is held out")
