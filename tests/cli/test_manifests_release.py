"""A release is written from the model: of the application's view, or refused with what differs."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from applications.fraud.features import FRAUD_VIEW
from headrace.cli import main
from tests.end_to_end.ground import made
from tests.manifests.golden import MANIFESTS

URI = "s3://headrace-models/fraud/1"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a published model of the fraud view."""
    return made(tmp_path_factory.getbasetemp()).models / "fraud"


def said(*arguments: str | Path) -> tuple[int, str]:
    """Run the command; return its exit code and what it says."""
    ended = CliRunner().invoke(main, ["manifests", "release", *map(str, arguments)])
    return ended.exit_code, ended.output


def test_a_release_names_where_the_model_is_and_what_it_is(model):
    code, text = said("fraud", model, "--uri", f"{URI}/")
    assert code == 0
    assert text == (
        f"release=1\nmodel-uri={URI}\nmodel-version=1\nfingerprint={FRAUD_VIEW.fingerprint}\nfunctions={FRAUD_VIEW.functions}\n"
    )


def test_it_is_what_an_overlay_reads(model, tmp_path):
    assert said("fraud", model, "--uri", URI, "--out", tmp_path / "release.env")[0] == 0
    kept = MANIFESTS / "overlays" / "production" / "release" / "release.env"
    assert (tmp_path / "release.env").read_text() == kept.read_text()


def test_a_version_that_is_not_there_is_refused(model):
    code, text = said("fraud", model, "--uri", URI, "--version", "7")
    assert code == 1
    assert "has no version 7" in text


def test_a_place_that_names_no_release_is_refused(model):
    code, text = said("fraud", model, "--uri", "s3://headrace-models/fraud/Final (2)")
    assert code == 1
    assert "the URI ends in 'Final (2)', needs small letters, digits and '-' there" in text


def test_the_functions_are_told_from_the_rest_of_the_view():
    fewer = FRAUD_VIEW.without(["amount"])
    assert fewer.fingerprint != FRAUD_VIEW.fingerprint
    assert fewer.functions == FRAUD_VIEW.functions
    assert FRAUD_VIEW.without(["is_night"]).functions != FRAUD_VIEW.functions
