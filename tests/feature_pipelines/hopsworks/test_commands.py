"""Pipelines as commands with a cluster: rows as the store has them on each engine, and refusals that say what to do."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from feature_pipelines.hopsworks.targets import targets_of
from headrace.hopsworks.declared import FeatureGroup
from headrace.hopsworks.session import HopsworksError, HopsworksSettings, connect
from headrace.stores.embedded import EmbeddedStore
from tests.feature_pipelines.hopsworks.stand_in import CARDS, TERMINALS, expected, file_of, rows, settled, variables
from tests.feature_pipelines.kafka.payments import CARDS as KEYS
from tests.feature_pipelines.kafka.payments import ROOT, finished, payments, start
from tests.hopsworks import StandIn

EVENTS = 600


@pytest.fixture
def events(tmp_path: Path) -> Path:
    return file_of(tmp_path / "payments.jsonl", payments(random.Random("commands"), EVENTS))


def check(cluster: StandIn, store: Path) -> None:
    """Demand that a cluster's rows are what a store holds, of every card."""
    settled(cluster, CARDS)
    held = EmbeddedStore(store, readonly=True)
    wanted = expected(held, CARDS, KEYS)
    held.close()
    assert len(wanted) == KEYS.size
    assert rows(cluster, CARDS) == wanted


def headrace(cluster: StandIn, *arguments: object, code: int = 0) -> str:
    """Run a command to its end and return what it said."""
    program = [sys.executable, "-c", "from headrace.cli import main; main()", *map(str, arguments)]
    told = {"cwd": ROOT, "env": variables(cluster, COLUMNS="200"), "stdin": subprocess.DEVNULL}
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **told)
    return finished(process, code, wait_s=120)


def test_a_store_is_streamed_alone_then_filled_then_mirrored_and_not_forgotten(hopsworks, events, tmp_path):
    environment, store = variables(hopsworks), tmp_path / "s"
    lines = events.read_bytes().splitlines(keepends=True)
    events.write_bytes(b"".join(lines[:400]))
    run = ("--source", events, "--store", store, "--order", "file", "--fast")
    finished(start(*run))
    said = finished(start(*run, "--hopsworks", environment=environment), code=1)
    assert "keys of group 'card_activity' that were written without Hopsworks: run `headrace hopsworks fill`" in said
    assert rows(hopsworks, CARDS) == {}

    said = headrace(hopsworks, "hopsworks", "fill", "fraud", "--store", store)
    assert "done   fill card_activity: 40 of card_activity acknowledged" in said
    check(hopsworks, store)
    events.rename(tmp_path / "old.jsonl")
    events = file_of(tmp_path / "more.jsonl", [(None, None, line.strip()) for line in lines[400:]])
    run = ("--source", events, "--store", store, "--fast")
    finished(start(*run, "--hopsworks", environment=environment))
    check(hopsworks, store)

    said = finished(start(*run, environment=environment), code=1)
    assert "the store is written to Hopsworks too, which would fall behind: needs --hopsworks" in said
    finished(start(*run, "--no-hopsworks"))
    assert "written without Hopsworks" in finished(start(*run, "--hopsworks", environment=environment), code=1)


def test_bootstrap_writes_the_rows_of_the_history_and_of_what_follows(hopsworks, events, tmp_path):
    lines = events.read_bytes().splitlines(keepends=True)
    events.write_bytes(b"".join(lines[:300]))
    told = ("--history", events, "--source", file_of(tmp_path / "all.jsonl", [(None, None, x.strip()) for x in lines]))
    headrace(hopsworks, "pipeline", "bootstrap", "fraud", *told, "--store", tmp_path / "s", "--hopsworks")
    check(hopsworks, tmp_path / "s")


def test_bytewax_writes_the_same_rows(hopsworks, events, tmp_path):
    told = ("--source", events, "--store", tmp_path / "s", "--engine", "bytewax", "--hopsworks", "--batch", 50)
    finished(start(*told, environment=variables(hopsworks)), wait_s=120)
    check(hopsworks, tmp_path / "s")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"HOPSWORKS_API_KEY": "no.key"}, "does not accept the key"),
        ({"HOPSWORKS_PROJECT": "another"}, "there is no project 'another'"),
        ({"HOPSWORKS_HOST": ""}, "no host of Hopsworks was given, needs HOPSWORKS_HOST"),
    ],
)
def test_a_cluster_that_cannot_be_used_is_refused_and_no_store_is_made(wrong, said, hopsworks, events, tmp_path):
    told = ("--source", events, "--store", tmp_path / "s", "--hopsworks")
    assert said in finished(start(*told, environment=variables(hopsworks, **wrong)), code=1)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 9}, "card_activity_fg, version 9, is not in project .* run `headrace hopsworks apply` first"),
        ({"features": CARDS.features[1:]}, "has the primary key cc_num, needs : declare a new version and apply it"),
    ],
)
def test_a_feature_group_that_is_absent_or_another_is_refused(change, said, hopsworks):
    told = {name: getattr(CARDS, name) for name in ("name", "version", "features", "event_time", "of")}
    with connect(HopsworksSettings.of(variables(hopsworks))) as session, pytest.raises(HopsworksError, match=said):
        targets_of(session, [FeatureGroup(**{**told, **change})])


def test_a_target_is_told_as_the_sdk_tells_it_and_keeps_its_secrets(hopsworks):
    with connect(HopsworksSettings.of(variables(hopsworks))) as session:
        cards, terminals = targets_of(session, [CARDS, TERMINALS])
        both = targets_of(session, [CARDS], storage=None)[0]
    assert cards.topic == hopsworks.feature_group(CARDS.name, CARDS.version)["onlineTopicName"]
    assert cards.servers == hopsworks.kafka
    assert set(cards.headers) == {"projectId", "featureGroupId", "subjectId", "onlineIngestionId", "storage"}
    assert cards.headers["storage"] == b"online"
    assert "storage" not in both.headers
    assert cards.headers["featureGroupId"] != terminals.headers["featureGroupId"]
    assert "security.protocol" in cards.kafka
    assert "security.protocol" not in repr(cards)
