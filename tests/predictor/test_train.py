"""Training learns, stops, repeats itself and leaves the process as it was."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from predictor.inputs import TabularInputs
from predictor.reference import histograms
from predictor.train import Recipe, fit, logits, repeatable
from tests.predictor.conftest import matrix_of

RECIPE = Recipe(epochs=6, batch=64, learning_rate=1e-2)
MISSING = np.array([-1, -1, 0], dtype=np.float32)


def network(matrix):
    with repeatable(1):
        inputs = TabularInputs.of(matrix, MISSING)
        return nn.Sequential(inputs, nn.Linear(inputs.width, 16), nn.GELU(), nn.Linear(16, 1), nn.Flatten(0))


def trained(seed=0, recipe=RECIPE, progress=None):
    matrix, labels = matrix_of(1500)
    module = network(matrix)
    held_out = matrix_of(500, seed=4)
    return module, fit(module, matrix, labels, held_out, recipe, seed=seed, progress=progress)


def test_it_learns_what_can_be_learnt():
    module, how = trained()
    matrix, labels = matrix_of(500, seed=9)
    assert how.average_precision > 0.95
    assert roc_auc_score(labels, logits(module, matrix)) > 0.98


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    matrix = matrix_of(50, seed=9)[0]
    first, again, other = (logits(trained(seed)[0], matrix) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_it_stops_when_nothing_improves_and_keeps_the_best_epoch():
    told = []
    _, how = trained(
        recipe=Recipe(epochs=40, batch=64, learning_rate=1e-2, patience=2), progress=lambda *a: told.append(a)
    )
    assert how.epochs < 40
    assert how.epochs - how.best_epoch == 2
    assert [share for _, share in told] == [epoch / 40 for epoch in range(1, how.epochs + 1)]


def test_random_state_and_threads_are_left_as_they_were():
    torch.manual_seed(11)
    expected, threads = torch.rand(1), torch.get_num_threads()
    torch.manual_seed(11)
    trained()
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == threads


def test_a_period_without_positives_is_refused():
    matrix, labels = matrix_of(100)
    with pytest.raises(ValueError, match=r"0 of 100 rows to learn from and .* needs at least one in each"):
        fit(network(matrix), matrix, np.zeros_like(labels), (matrix, labels), RECIPE)


def test_reference_histograms_count_every_row_and_give_shared_values_bins_of_their_own():
    matrix = matrix_of(1000)[0]
    given = histograms(matrix, ["amount", "age", "visits"])
    assert all(sum(column["counts"]) == 1000 for column in given.values())
    age = given["age"]
    assert age["edges"][0] == -1.0
    assert age["edges"][1] == pytest.approx(-1.0)
    assert age["counts"][0] == (matrix[:, 1] == -1).sum()


def test_a_constant_column_has_one_bin():
    given = histograms(np.full((5, 1), 2.0, dtype=np.float32), ["flag"])["flag"]
    assert given["counts"] == [5]
    assert len(given["edges"]) == 2
