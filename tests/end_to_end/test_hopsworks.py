"""A transformer that reads from a Hopsworks cluster answers as with the embedded store, and says when it cannot."""

from __future__ import annotations

import numpy as np
import pytest

from applications.fraud.app import APP
from headrace.cli.stack import not_ready, server, wait_ready
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.records import fetch
from tests.end_to_end.asking import infer
from tests.end_to_end.ground import OUTPUT, Ground, predictor_flags, transformer_flags
from tests.end_to_end.payments import Columns, asked
from tests.headrace.hopsworks.filled import cluster_of, environment, fill


def held(ground: Ground) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the keys and records of the embedded store, by the name of their group."""
    store, found = EmbeddedStore(ground.store, readonly=True), {}
    for group in APP.groups:
        keys = np.unique(ground.events[group.key])
        kept = store.files.database(f"group:{group.name}".encode())
        with store.files.begin() as txn:
            found[group.name] = (keys, fetch(txn, kept, group, keys))
    store.close()
    return found


def is_right(http: str, columns: Columns, ground: Ground) -> bool:
    """Tell whether features and predictions are those of the training frame."""
    said = infer(http, columns, OUTPUT, "features")
    rows = next(iter(columns.values())).size
    np.testing.assert_array_equal(
        np.array(said.output("features"), dtype=np.float32).reshape(rows, -1), ground.features(columns)
    )
    return bool(said.output(OUTPUT) == pytest.approx(ground.probabilities(columns), abs=1e-6))


def test_a_transformer_reads_from_a_cluster_and_outlives_its_faults(ground, tmp_path, monkeypatch):
    with cluster_of(APP, tmp_path / "cluster") as cluster:
        fill(cluster, APP, held(ground))
        for name, value in environment(cluster).items():
            monkeypatch.setenv(name, value)
        url = f"hopsworks://localhost:{cluster.rdrs_tls_port}"
        with (
            server("predictor", predictor_flags(ground.models), tmp_path) as predictor,
            server("transformer", transformer_flags(url, predictor.http), tmp_path) as transformer,
        ):
            wait_ready(transformer)
            columns = asked(20)
            assert is_right(transformer.http, columns, ground)
            cluster.faults.set("rdrs", status=503)
            refused = infer(transformer.http, columns, OUTPUT)
            assert refused.status == 503
            while not not_ready(transformer):
                pass
            cluster.faults.clear()
            wait_ready(transformer)
            assert is_right(transformer.http, columns, ground)
            transformer.check()
            assert cluster.api_key not in transformer.log.read_text()
