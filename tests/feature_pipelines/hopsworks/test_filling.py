"""Filling: every record gets its row, an interrupted filling goes on, and no newer record is overtaken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from applications.fraud.app import APP
from feature_pipelines.hopsworks.filling import fill
from feature_pipelines.hopsworks.marks import BEGUN, WHOLE, marks
from feature_pipelines.hopsworks.mirror import MirroredStore
from feature_pipelines.kafka import KafkaAddress
from headrace.hopsworks.declared import Declared
from headrace.hopsworks.rows import rows_of
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import decode_keys, encode_keys
from tests.feature_pipelines.hopsworks.topics import PARTITIONS, ingested, writer_of
from tests.feature_pipelines.kafka.cluster import Cluster
from tests.headrace.hopsworks.test_rows import folded

CARDS = Declared.of(APP).groups[0]
GROUP = CARDS.of
KEYS = np.arange(-50, 450)
PART = 100 * GROUP.layout.size


@pytest.fixture
def address(cluster: Cluster) -> KafkaAddress:
    return cluster.topic(PARTITIONS)


@pytest.fixture
def store(tmp_path: Path):
    held = EmbeddedStore(tmp_path / "s", durable=False)
    held.declare([GROUP])
    with held.transaction("payments", {}) as change:
        change.write(GROUP, KEYS, folded(GROUP, KEYS.size, 900, 1))
    yield held
    held.close()


def tiles(records: np.ndarray) -> dict[str, bytes]:
    """Return the tiles of each key's row."""
    return dict(zip(map(str, KEYS), rows_of(CARDS, KEYS, records)["tiles"], strict=True))


def test_every_record_gets_its_row_and_the_store_may_then_be_mirrored(store, cluster, address):
    heard: list[float] = []
    writer = writer_of(address, CARDS)
    filled = fill(store, writer, [GROUP], lambda doing, share: heard.append(share), part=PART)
    assert (filled.rows, filled.resumed, filled.whole) == ({GROUP.name: KEYS.size}, False, True)
    assert heard == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    rows = ingested(cluster, address, CARDS)
    assert {key: row["tiles"] for key, row in rows.items()} == tiles(folded(GROUP, KEYS.size, 900, 1))
    assert marks(store) == {address.topic: WHOLE}
    MirroredStore(store, writer).declare([GROUP])
    writer.close()


def test_a_filling_that_was_stopped_goes_on_and_another_begins_anew(store, cluster, address):
    writer, parts = writer_of(address, CARDS), iter([False, True, False, False, False])
    filled = fill(store, writer, [GROUP], stop=lambda: next(parts), part=PART)
    assert (filled.rows, filled.whole) == ({GROUP.name: 200}, False)
    assert marks(store) == {address.topic: BEGUN}
    with pytest.raises(ValueError, match="were written without Hopsworks: run `headrace hopsworks fill`"):
        MirroredStore(store, writer).declare([GROUP])

    filled = fill(store, writer, [GROUP], part=PART)
    assert (filled.rows, filled.resumed, filled.whole) == ({GROUP.name: 300}, True, True)
    assert len(cluster.messages(address, PARTITIONS)) == KEYS.size == len(ingested(cluster, address, CARDS))
    assert fill(store, writer, [GROUP], part=PART).rows == {GROUP.name: KEYS.size}
    writer.close()


def test_a_record_that_is_written_meanwhile_is_not_overtaken(store, cluster, address):
    writer, newer = writer_of(address, CARDS), folded(GROUP, KEYS.size, 4_000, 2)
    mirrored = MirroredStore(store, writer)

    def write(_: str, share: float) -> None:
        if share == pytest.approx(0.4):
            with mirrored.transaction("payments", {}) as change:
                change.write(GROUP, KEYS, newer)

    fill(store, writer, [GROUP], write, part=PART)
    rows = ingested(cluster, address, CARDS)
    assert {key: row["tiles"] for key, row in rows.items()} == tiles(newer)
    writer.close()


@pytest.mark.parametrize("keys", [KEYS, np.array(["", "a", "ö" * 200])], ids=["whole", "text"])
def test_keys_are_told_from_how_they_are_kept(keys):
    assert decode_keys(encode_keys(keys), whole=keys.dtype.kind == "i").tolist() == keys.tolist()


def test_a_text_that_is_kept_as_a_digest_cannot_be_told():
    with pytest.raises(ValueError, match="a key is longer than 510 bytes, the text of one that is kept cannot be told"):
        decode_keys(encode_keys(np.array(["x" * 600])), whole=False)
