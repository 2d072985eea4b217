"""The demo's cluster: found or started, the application applied, and what is written there read back in time."""

from __future__ import annotations

import os
from contextlib import closing

import numpy as np
import pytest

from applications.fraud.app import APP
from headrace.cli import cluster as cluster_module
from headrace.cli.cluster import TakenIn, cluster, mirrored
from headrace.cli.stack import StackError
from headrace.stores.embedded import EmbeddedStore
from tests.architecture.code import ROOT
from tests.stores.small import keys_of

CARDS, AT = [7, 0, 9], 1_767_225_600_000


def test_what_a_mirrored_store_holds_is_waited_for_in_the_cluster(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOPSWORKS_HOST", raising=False)
    group = APP.groups[0]
    with closing(EmbeddedStore(tmp_path / "store", durable=False)) as store, cluster(APP, tmp_path) as url:
        with mirrored(store, APP) as mirror:
            mirror.declare(APP.groups)
            with mirror.transaction("payments", {}) as change:
                records = change.records(group, keys_of(CARDS))
                records["newest_ms"] = AT
                change.write(group, keys_of(CARDS), records)
            with closing(TakenIn(APP, mirror, url)) as taken_in:
                asked = {"cc_num": np.array([*CARDS, 11]), "terminal_id": np.arange(4)}
                taken_in.wait(asked, np.full(4, AT + 1))
                (found, _) = taken_in._read(taken_in._there, [*taken_in._lookups(asked)], np.full(4, AT + 1))
                with store.transaction("labels", {}) as change:  # behind the mirror's back
                    change.write(group, keys_of([11]), records[:1])
                monkeypatch.setattr(cluster_module, "_TAKEN_IN_S", 0.0)
                with pytest.raises(StackError, match=r"acknowledged within 0 s: 1 of 4 rows of card_activity$"):
                    taken_in.wait(asked, np.full(4, AT + 1))
        assert found.found.tolist() == [True, True, True, False]
        assert os.environ["HOPSWORKS_HOST"]
    assert "HOPSWORKS_HOST" not in os.environ


def test_the_stand_in_is_that_of_the_folder_or_of_the_checkout_that_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cluster_module._checkout() == ROOT
    beside = tmp_path / "tests" / "hopsworks" / "__main__.py"
    beside.parent.mkdir(parents=True)
    beside.touch()
    assert cluster_module._checkout() == tmp_path


def test_without_a_cluster_or_a_checkout_it_says_what_is_needed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster_module, "_CHECKOUT", tmp_path)  # as where the package was installed
    monkeypatch.delenv("HOPSWORKS_HOST", raising=False)
    with (
        pytest.raises(StackError, match="there is no Hopsworks to talk to: name a cluster by HOPSWORKS_HOST"),
        cluster(APP, tmp_path),
    ):
        pass
