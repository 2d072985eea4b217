"""Labels as a training function is given them."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from headrace.cli.training import training_rows
from headrace.features.rows import RowsError
from tests.transformer.small import APP, NOW, VIEW


def labels_of(given):
    app = replace(APP, label="bad", train="nowhere:train")
    table = {name: np.zeros(len(given)) for name in VIEW.names}
    table |= {"bad": given, "at": np.arange(len(given)) + NOW, "user": ["ann"] * len(given)}
    return training_rows(app, pa.table(table))[1]


@pytest.mark.parametrize(
    ("given", "wanted", "dtype"),
    [
        ([0.0, 1.0, 1.0], [0, 1, 1], np.int8),
        ([0.0, float("nan"), 3.0], [0, 3], np.int8),
        ([284.0, 118.0, -82.0], [284, 118, -82], np.float32),
        ([28.5, 1.0], [28.5, 1.0], np.float32),
        ([128.0, 1.0], [128, 1], np.float32),
    ],
)
def test_classes_are_small_and_numbers_as_they_are(given, wanted, dtype):
    labels = labels_of(given)
    assert (labels.tolist(), labels.dtype) == (wanted, dtype)


def test_a_label_without_a_bound_is_refused():
    with pytest.raises(RowsError, match="the label 'bad' has values without a bound, needs numbers"):
        labels_of([1.0, float("inf")])
