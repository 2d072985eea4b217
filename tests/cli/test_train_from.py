"""From nothing to a served model by way of a cluster: events in, a frame, a model in the registry, and out again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from applications.fraud.features import FRAUD_VIEW
from predictor.repository import read_manifest
from tests.headrace.hopsworks.filled import environment
from tests.hopsworks import StandIn


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with StandIn.started(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def hopsworks(headrace, cluster, monkeypatch):
    """The command, in an environment that names the cluster."""
    for name, value in environment(cluster).items():
        monkeypatch.setenv(name, value)
    return headrace


def test_a_model_by_way_of_a_cluster_is_the_one_made_here(hopsworks, cluster, payments, tmp_path):
    output = hopsworks("train", "fraud", "--from", "hopsworks", "--out", "models", code=1).output
    assert "there is no feature group payments_fg version 1, needs it: run headrace hopsworks apply" in output
    hopsworks("hopsworks", "apply", "fraud")
    output = hopsworks("train", "fraud", "--from", "hopsworks", "--out", "models", code=1).output
    assert "has no events in payments_fg, needs a history to learn from" in output

    output = hopsworks("hopsworks", "events", "fraud", "--history", payments).output
    assert "write events: 200 payments_fg, 200 labels_fg" in output
    assert "materialize: in the offline tables" in output
    output = hopsworks("train", "fraud", "--from", "hopsworks", "--out", "models", "--seed", 3).output
    assert "read the events: 200 payments, 200 labels" in output
    assert f"build the training frame: 200 rows of {len(FRAUD_VIEW.names)} features" in output
    assert "register the model: model fraud version 1 in project headrace" in output
    assert [path.name for path in Path("models").iterdir()] == ["fraud"]

    hopsworks("backfill", "fraud", "--events", payments, "--spine", payments, "--out", "frame.parquet")
    hopsworks("train", "fraud", "--frame", "frame.parquet", "--out", "here", "--seed", 3)
    there, here = read_manifest("models/fraud", FRAUD_VIEW), read_manifest("here/fraud", FRAUD_VIEW)
    assert there.files == here.files
    assert (there.metrics, there.reference) == (here.metrics, here.reference)

    frame = Path(cluster.ca_file).parent / "files" / "Models" / "fraud" / "1" / "training_frame.parquet"
    assert there.trained_on["frame_sha256"] == hashlib.sha256(frame.read_bytes()).hexdigest()
    assert there.trained_on["events"] == {"payments_fg": 1, "labels_fg": 1}
    assert pq.read_schema(frame).metadata[b"headrace_fingerprint"].decode() == FRAUD_VIEW.fingerprint
    assert cluster.api_key not in json.dumps(there.trained_on)

    hopsworks("model", "alias", "fraud", "--version", 1, "--as", "champion")
    hopsworks("model", "pull", "fraud", "--alias", "champion", "--into", "served", "--app", "fraud")
    assert read_manifest("served/fraud") == there
    assert cluster.unknown == []


def test_a_range_of_events_and_a_model_that_is_not_registered(hopsworks, cluster, payments):
    hopsworks("hopsworks", "apply", "fraud")
    hopsworks("hopsworks", "events", "fraud", "--history", payments, "--no-wait")
    hopsworks("hopsworks", "events", "fraud", "--history", payments)
    times = pq.read_table(payments).column("datetime").cast("int64").to_pylist()
    asked = ("--from", "hopsworks", "--out", "models", "--since", times[20], "--until", "2026-02-08T00:00:00Z")
    versions = hopsworks("model", "list", "fraud").output
    output = hopsworks("train", "fraud", *asked, "--no-register").output
    count = sum(times[20] <= at < 1_770_508_800_000 for at in times)
    assert f"read the events: {count} payments, {count} labels" in output
    assert "register" not in output
    assert hopsworks("model", "list", "fraud").output == versions


@pytest.mark.parametrize("asked", [(), ("--frame", "f.parquet", "--from", "hopsworks")])
def test_where_rows_come_from_is_said_once(headrace, asked):
    output = headrace("train", "fraud", *asked, "--out", "models", code=2).output
    assert "needs a frame or where events come from, one of them" in " ".join(output.split())


def test_an_instant_that_is_none(headrace):
    output = headrace("train", "fraud", "--from", "hopsworks", "--since", "soon", "--out", "models", code=2).output
    assert "'soon' is no instant, needs ISO 8601 or epoch milliseconds" in " ".join(output.split())
