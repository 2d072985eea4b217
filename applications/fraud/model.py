"""The fraud model: a few small networks over the view's columns, and the regression it must beat.

Frauds are rare. The networks begin at the base rate, so that the first steps are not spent
on learning that almost nothing is fraud, and judge themselves by average precision, which
ignores the many easy negatives. Counting each fraud several times ranked worse here, for
networks and regression alike; a recipe may still ask for it. Networks trained with positives
counted w times answer logit(p) + log w where p is the probability asked for; log w is taken
off again inside the graph, so that the answers remain probabilities.
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
    "train",
]

OUTPUT = "fraud_probability"
HIDDEN = (64, 32)
DROPOUT = 0.1
MEMBERS = 4
RECIPE = Recipe(epochs=16, batch=2048, learning_rate=6e-3)
HELD_OUT = 0.2  # the last part of the training period, for early stopping


class Members(nn.Module):
    """A dense layer of every member at once: [rows, in] or [members, rows, in] to [members, rows, out]."""

    def __init__(self, members: int, before: int, after: int) -> None:
        super().__init__()
        bound = before**-0.5  # as torch.nn.Linear begins
        self.weight = nn.Parameter(torch.empty(members, before, after).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, 1, after).uniform_(-bound, bound))

    def forward(self, given: Tensor) -> Tensor:
        return torch.matmul(given, self.weight) + self.bias


class FraudNet(nn.Module):
    """An ensemble of small networks that differ in how they began.

    While training it gives each member's logit, [rows, members], so that every member learns by
    itself; otherwise their mean, [rows]. One network's ranking moves by a hundredth of average
    precision with its seed; their mean does not.
    """

    def __init__(
        self, inputs: TabularInputs, positive_weight: float = 1.0, base_rate: float = 0.5, members: int = MEMBERS
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((inputs.width, *HIDDEN)):
            layers += [Members(members, before, after), nn.GELU(), nn.Dropout(DROPOUT)]
        self.inputs = inputs
        answer = Members(members, HIDDEN[-1], 1)
        self.network = nn.Sequential(*layers, answer)
        self.correction: float = math.log(positive_weight)
        nn.init.constant_(answer.bias, math.log(base_rate / (1 - base_rate)) + self.correction)

    def forward(self, features: Tensor) -> Tensor:
        logits = self.network(self.inputs(features)).squeeze(2)
        return logits.transpose(0, 1) if self.training else logits.mean(0)


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
    recipe: Recipe = RECIPE,
    progress: Callable[[str, float], None] | None = None,
) -> Trained:
    """Train on rows in time order: float32 [rows, columns of the view], labels 0 or 1, epoch milliseconds, cards.

    The last fifth of the rows decides when to stop, and is measured into `held_out`. A view with fewer columns
    (`view.without(...)`) trains the same way, for ablations.
    """
    _check(view, matrix, labels, times)
    split = int(labels.size * (1 - HELD_OUT))
    base_rate = float(np.clip(labels[:split].mean(), 1e-4, 0.5))
    with repeatable(seed):
        network = FraudNet(TabularInputs.of(matrix[:split], view.missing), recipe.positive_weight, base_rate)
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
