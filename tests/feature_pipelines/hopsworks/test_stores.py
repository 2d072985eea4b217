"""The store of a job: alone or mirrored, as its option says, and what is said where it cannot be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from applications.fraud.app import APP
from feature_pipelines.engines import Job
from feature_pipelines.hopsworks.marks import WHOLE, mark, marks
from feature_pipelines.stores import open_store
from headrace.stores.embedded import EmbeddedStore
from tests.feature_pipelines.kafka.payments import ROOT

GROUPS = APP.groups_of("payments")
WITHOUT_KAFKA = """
import sys
sys.modules["confluent_kafka"] = None
from applications.fraud.app import APP
from feature_pipelines.engines import Job
from feature_pipelines.stores import open_store
from pathlib import Path
for wish in ("", "true"):
    job = Job("fraud", "payments", "x", Path(sys.argv[1]), options={"hopsworks": wish})
    try:
        with open_store(job, APP, ()) as store:
            print("alone:", store.offsets("payments"))
    except ValueError as refused:
        print(refused)
"""


def job(store: Path, **options: str) -> Job:
    """Return a job of payments."""
    return Job("fraud", "payments", "payments.parquet", store, options=options)


def test_a_store_alone_is_the_embedded_one(tmp_path):
    with open_store(job(tmp_path / "s"), APP, GROUPS) as store:
        assert isinstance(store, EmbeddedStore)
        assert marks(store) == {}


def test_what_is_neither_true_nor_false_is_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="option hopsworks is 'maybe', needs true or false"),
        open_store(job(tmp_path / "s", hopsworks="maybe"), APP, GROUPS),
    ):
        pass


def test_a_mirrored_store_is_given_up_where_that_is_said(tmp_path):
    with open_store(job(tmp_path / "s"), APP, GROUPS) as store:
        mark(store, ["topic"], WHOLE)
    with (
        pytest.raises(ValueError, match="which would fall behind: needs --hopsworks, or --no-hopsworks"),
        open_store(job(tmp_path / "s"), APP, GROUPS),
    ):
        pass
    with open_store(job(tmp_path / "s", hopsworks="false"), APP, GROUPS) as store:
        assert marks(store) == {}


def test_without_the_extras_a_store_alone_opens_and_a_mirrored_one_says_what_is_absent(tmp_path):
    program = [sys.executable, "-c", WITHOUT_KAFKA, str(tmp_path / "s")]
    said = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[0] == "alone: {}"
    assert said[1].startswith("Hopsworks needs confluent_kafka, which is not installed: pip install 'headrace[")
