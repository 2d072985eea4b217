"""The fraud model learns a fraud pattern a regression cannot see, repeats itself and stays a probability."""

import numpy as np
import pytest
import torch

from applications.fraud.features import FRAUD_VIEW
from applications.fraud.metrics import metrics
from applications.fraud.model import OUTPUT, FraudNet, Probability, logistic_baseline, train
from headrace.features import DAY
from headrace.runtime import Runtime
from predictor.export import export, parity
from predictor.inputs import TabularInputs
from predictor.train import Recipe, repeatable

SMALL = FRAUD_VIEW.without([name for name in FRAUD_VIEW.names if name not in ("amount", "card_present", "hour_sin")])
RECIPE = Recipe(epochs=8, batch=128, learning_rate=1e-2, positive_weight=4.0)


def period(rows, seed):
    """Frauds are middling amounts without the card: beyond a straight line."""
    rng = np.random.default_rng(seed)
    amount, present = rng.lognormal(3.5, 1, rows), rng.integers(0, 2, rows)
    suspect = (amount > 30) & (amount < 60) & (present == 0)
    labels = (suspect & (rng.random(rows) < 0.8)).astype(np.int8)
    matrix = np.column_stack([amount, present, rng.uniform(-1, 1, rows)]).astype(np.float32)
    return matrix, labels, np.arange(rows) * (10 * DAY // rows), rng.integers(0, 300, rows)


@pytest.fixture(scope="module")
def trained():
    return train(SMALL, *period(6000, 1), seed=3, recipe=RECIPE)


def test_it_beats_the_regression_on_a_later_period(trained):
    matrix, labels, times, cards = period(3000, 2)
    ours = metrics(labels, trained.score(matrix), times // DAY, cards)
    regression = logistic_baseline(*period(6000, 1)[:2])
    theirs = metrics(labels, regression.predict_proba(matrix)[:, 1], times // DAY, cards)
    assert ours["average_precision"] > 0.7
    assert ours["average_precision"] > theirs["average_precision"] + 0.3


def test_scores_remain_probabilities_though_frauds_count_four_times(trained):
    matrix, labels, _, _ = period(20_000, 4)
    scores = trained.score(matrix)
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert scores.mean() == pytest.approx(labels.mean(), rel=0.15)


def test_the_same_seed_gives_the_same_scores(trained):
    again = train(SMALL, *period(6000, 1), seed=3, recipe=RECIPE)
    matrix = period(500, 5)[0]
    assert np.array_equal(trained.score(matrix), again.score(matrix))
    assert trained.held_out == again.held_out


def test_it_says_what_it_was_trained_on(trained):
    labels, times = period(6000, 1)[1:3]
    assert trained.columns == ("amount", "card_present", "hour_sin")
    assert trained.trained_on == {"from": 0, "to": int(times[-1]), "rows": 6000, "frauds": int(labels.sum())}
    assert 1 <= trained.fit.best_epoch <= trained.fit.epochs <= 8
    assert set(trained.held_out) == {"roc_auc", "average_precision", "card_precision_100"}


def test_the_exported_model_scores_alike(trained, tmp_path):
    path = export(trained.module, SMALL, [OUTPUT], tmp_path / "model.onnx")
    assert parity(trained.module, Runtime.open(path), period(500, 5)[0]) < 1e-6


def test_the_whole_view_can_be_trained(trained):
    rng = np.random.default_rng(0)
    matrix = rng.lognormal(0, 1, (600, len(FRAUD_VIEW.names))).astype(np.float32)
    labels = (matrix[:, 0] > 2).astype(np.int8)
    given = train(FRAUD_VIEW, matrix, labels, np.arange(600), np.arange(600), recipe=Recipe(epochs=1))
    assert torch.isfinite(torch.from_numpy(given.score(matrix))).all()


def test_refusals():
    matrix, labels, times, cards = period(100, 1)
    with pytest.raises(ValueError, match=r"matrix has shape \(100, 2\) for 100 labels .* needs \(100, 3\)"):
        train(SMALL, matrix[:, :2], labels, times, cards)
    with pytest.raises(ValueError, match="rows are not in order of time"):
        train(SMALL, matrix, labels, times[::-1], cards)
    matrix[3, 2] = np.nan
    with pytest.raises(ValueError, match="columns hour_sin hold NaN or infinity"):
        train(SMALL, matrix, labels, times, cards)


@pytest.mark.parametrize("weight", [1.0, 8.0])
def test_a_network_begins_at_the_base_rate_however_frauds_are_weighted(weight):
    matrix = np.random.default_rng(0).normal(size=(2000, 3)).astype(np.float32)
    inputs = TabularInputs.of(matrix, np.full(3, np.nan, dtype=np.float32))
    with repeatable(0):
        network = Probability(FraudNet(inputs, weight, base_rate=0.01)).eval()
    with torch.inference_mode():
        assert 0.005 < float(network(torch.from_numpy(matrix)).mean()) < 0.02
