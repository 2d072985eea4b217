"""`headrace model optimise` on the fraud model: what it prints, writes and refuses."""

from __future__ import annotations

import re
import shutil

import pytest
from click.testing import CliRunner

from headrace.cli import main
from predictor.verified import verified
from tests.predictor.small_models import keys


@pytest.fixture(scope="module")
def models(tmp_path_factory, frame):
    out = tmp_path_factory.mktemp("models")
    made = CliRunner().invoke(main, ["train", "fraud", "--frame", str(frame), "--out", str(out)])
    assert made.exit_code == 0, made.output
    return out


@pytest.fixture
def model(models, tmp_path):
    return shutil.copytree(models, tmp_path / "models") / "fraud"


def test_an_int8_variant_is_compared_and_written(headrace, model, frame):
    output = headrace(
        "model", "optimise", model, "--int8", "--app", "fraud", "--data", frame, "--allowed-loss", "0.5"
    ).output
    assert re.search(r"int8 variant of fraud: version 2, judged on 40 rows, \d+ of them positive", output)
    size = re.search(r"size +([\d.]+) KiB +([\d.]+) KiB +([\d.]+)x smaller", output)
    assert size
    assert float(size[3]) >= 2
    for line in (
        r"a run of 1 ",
        r"a run of 256 ",
        r"average precision +0\.\d{4} +0\.\d{4} +[+-]0\.\d{4}",
        "scores apart",
    ):
        assert re.search(line, output), line
    assert dict(verified(model).aliases) == {"production": 1, "candidate": 2}


def test_a_promoted_variant_is_production(headrace, model, frame):
    headrace("model", "optimise", model, "--fp16", "--app", "fraud", "--data", frame, "--promote")
    assert dict(verified(model).aliases) == {"production": 2, "previous": 1}


def test_a_signature_goes_with_the_change_and_that_is_said(headrace, model, tmp_path):
    key, public = keys(tmp_path)
    headrace("model", "sign", model, "--key", key)
    output = headrace("model", "optimise", model, "--fp16").output
    assert "model.sig is gone, since it no longer holds: sign the model again" in output
    headrace("model", "sign", model, "--key", key)
    assert "is gone" not in headrace("model", "optimise", model, "--fp16", "--key", key).output
    assert verified(model, public).signed


def test_without_a_frame_the_reference_judges(headrace, model):
    output = headrace("model", "optimise", model, "--int8", "--allowed-loss", "0.5").output
    assert "version 2, judged on 10,000 rows drawn from its reference" in " ".join(output.split())


def test_a_frame_needs_its_application(headrace, model, frame):
    output = headrace("model", "optimise", model, "--int8", "--data", frame, code=2).output
    assert "--data needs --app" in output


def test_it_must_be_said_what_to_make(headrace, model, frame):
    output = headrace("model", "optimise", model, "--app", "fraud", "--data", frame, code=2).output
    assert "needs what to make of it: --int8 or --fp16" in output


def test_a_version_that_is_not_there_is_refused(headrace, model, frame):
    given = ("model", "optimise", model, "--int8", "--app", "fraud", "--data", frame, "--version", "9")
    assert "model 'fraud' has no version 9, needs one of 1" in headrace(*given, code=1).output
    assert sorted(verified(model).manifest.versions) == [1]


def test_rows_without_a_positive_one_cannot_judge(headrace, model, frame, tmp_path):
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(frame)
    pq.write_table(table.filter(pc.equal(table["fraud_label"], 0)), tmp_path / "good.parquet")
    given = ("model", "optimise", model, "--int8", "--app", "fraud", "--data", tmp_path / "good.parquet")
    assert re.search(r"0 of the \d+ last are\s+positive", headrace(*given, code=1).output)
