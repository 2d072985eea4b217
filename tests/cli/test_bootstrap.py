"""`headrace pipeline bootstrap`: what it says, that history and stream count once, and what it refuses."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from applications.fraud.features import CARD_ACTIVITY
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import Lookup

CARDS = np.arange(5) - 1


def records(path) -> np.ndarray:
    store = EmbeddedStore(path, readonly=True)
    found = store.records(Lookup(CARD_ACTIVITY, CARDS)).copy()
    store.close()
    return found


def test_history_and_stream_overlap_and_count_once(headrace, payments, store, tmp_path):
    table = pq.read_table(payments)
    (tmp_path / "past").mkdir()
    for at in range(2):
        pq.write_table(table.slice(75 * at, 75), tmp_path / "past" / f"{at}.parquet")
    pq.write_table(table.slice(149), tmp_path / "topic.parquet")
    run = ("pipeline", "bootstrap", "fraud", "--history", "past", "--source", "topic.parquet", "--store", "b", "--fast")
    output = headrace(*run).output
    assert "done   fill card_activity from past: 150 events" in output
    assert "0 repeated; 0 dead; 5 keys of card_activity, up to 2026-" in output
    assert "done   stream payments: 51 events; 1 in the history already; 0 repeated; 0 dead" in output
    ours, theirs = records(tmp_path / "b"), records(store)
    for name in ours.dtype.names or ():
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-9, err_msg=name)
    assert sorted(path.name for path in (tmp_path / "b").iterdir() if path.name.startswith(".boot")) == []
    again = headrace(*run).output
    assert "done   fill card_activity from past: the history was there, up to 2026-" in again
    assert "done   stream payments: 0 events" in again


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--offset-columns", "offset"), "--offset-columns is 'offset', needs two columns: PARTITION,OFFSET"),
        (("--offset-columns", "part,at"), "the source has no partitions, needs a topic to start at offsets that"),
        (("--history", "no.parquet"), "there is no file 'no.parquet'"),
        (("--history", "no.parquet", "--source", "kafka://127.0.0.1:9/payments"), "there is no file 'no.parquet'"),
        (("--store", "s"), "the store holds events of payments that were streamed"),
    ],
)
def test_what_cannot_be_filled_says_why(headrace, payments, store, arguments, message):
    given = {"--history": payments, "--source": payments, "--store": "new"}
    given |= dict(zip(arguments[::2], arguments[1::2], strict=True))
    output = headrace("pipeline", "bootstrap", "fraud", *(word for pair in given.items() for word in pair), code=1)
    assert message in " ".join(output.output.split())
