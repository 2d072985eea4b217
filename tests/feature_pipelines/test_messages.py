"""Messages hold what the columns hold: read back by the reader of topics, they are the same events."""

from __future__ import annotations

import numpy as np
import pytest

from applications.fraud.app import PAYMENTS
from applications.fraud.samples import sample_payments
from feature_pipelines.events import decode
from feature_pipelines.formats import JsonReader
from feature_pipelines.messages import messages_of


def test_messages_read_back_are_the_events():
    events = sample_payments(200, seed=5)
    events["amount"][3] = np.nan
    messages = list(messages_of(events, "cc_num"))
    assert [key for key, _ in messages] == [str(card).encode() for card in events["cc_num"].tolist()]
    raw, unreadable = JsonReader(PAYMENTS.names).read([value for _, value in messages])
    decoded = decode(PAYMENTS, raw, 200, int(events["datetime"][-1]))
    assert not unreadable
    assert list(decoded.reasons) == [3]
    for name in ("cc_num", "datetime", "amount", "tid"):
        np.testing.assert_array_equal(decoded.columns[name], np.delete(events[name], 3))


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        list(messages_of({"card": np.arange(3), "amount": np.arange(2.0)}, "card"))


def test_a_key_that_is_no_column_is_refused():
    with pytest.raises(KeyError, match="terminal"):
        list(messages_of({"card": np.arange(3)}, "terminal"))
