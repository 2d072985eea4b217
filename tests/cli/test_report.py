"""The demo's proof that served and trained features agree can fail."""

from __future__ import annotations

import numpy as np
import pytest

from headrace.cli.replay import Replayed
from headrace.cli.report import ParityFailed, Report


def replayed(features: np.ndarray) -> Replayed:
    return Replayed(np.zeros(len(features)), features, {("grpc", 1): [0.001]})


@pytest.mark.parametrize("wrong", [1.00001, np.nan])
def test_a_served_feature_that_differs_fails_the_demo(wrong):
    frame = np.ones((3, 2), dtype=np.float32)
    Report().compare(replayed(frame.copy()), frame)
    served = frame.copy()
    served[1, 0] = wrong
    with pytest.raises(ParityFailed, match="1 of 3 rows were served features that differ"):
        Report().compare(replayed(served), frame)
