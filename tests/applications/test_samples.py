"""Sample payments are seeded, in order of time, within their hours, and are events of the stream."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from applications.fraud.app import PAYMENTS
from applications.fraud.samples import START_MS, sample_payments
from feature_pipelines.events import decode
from headrace.features import HOUR


@given(st.integers(1, 500), st.integers(1, 30), st.integers(1, 60), st.integers(0, 2**32))
def test_samples_are_payments_in_order_of_time(count, cards, hours, seed):
    events = sample_payments(count, cards=cards, hours=hours, seed=seed)
    assert decode(PAYMENTS, events, count, START_MS + 60 * HOUR).accepted.all()
    assert (np.diff(events["datetime"]) >= 0).all()
    assert START_MS <= events["datetime"][0] <= events["datetime"][-1] < START_MS + hours * HOUR
    assert len(set(events["cc_num"].tolist())) <= cards
    assert len(set(events["tid"].tolist())) == count


def test_the_same_seed_gives_the_same_payments():
    first, again, other = (sample_payments(50, seed=seed) for seed in (1, 1, 2))
    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name])
    assert first["amount"].tolist() != other["amount"].tolist()
