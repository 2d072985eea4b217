"""`headrace model` against a cluster on the wire: models go in, are named, and come out whole or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from predictor.repository import MANIFEST, read_manifest, write_model
from predictor.server import load
from tests.headrace.hopsworks.filled import environment
from tests.headrace.hopsworks.registered import small_model
from tests.hopsworks import StandIn


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with StandIn.started(tmp_path_factory.mktemp("cluster"), kafka=False) as running:
        yield running


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("trained"))


@pytest.fixture(autouse=True)
def named(cluster, monkeypatch):
    for name, value in environment(cluster).items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def once():
    return []


@pytest.fixture
def registered(headrace, cluster, trained, once):
    """The files of `small` version 1 in the registry, as they were put there."""
    if not once:
        output = headrace("model", "put", trained).output
        assert "register the model: model small version 1 in project headrace" in output
        once.append(output)
    files = Path(cluster.ca_file).parent / "files" / "Models" / "small" / "1" / "Files"
    shutil.rmtree(files)
    shutil.copytree(trained, files)
    return files


@pytest.fixture
def former(tmp_path):
    """A repository that serves another model of the same name."""
    repository = tmp_path / "served"
    small_model(repository, seed=9)
    return repository


def test_a_version_is_fetched_into_a_repository_and_served(headrace, registered, trained, tmp_path):
    output = headrace("model", "pull", "small", "--version", 1, "--into", tmp_path / "models").output
    manifest = read_manifest(trained)
    assert f"fetch small: small version 1, fingerprint {manifest.fingerprint[:16]}" in output
    assert read_manifest(tmp_path / "models" / "small") == manifest
    assert load(tmp_path / "models", "small").fingerprint == manifest.fingerprint
    assert [p.name for p in (tmp_path / "models").iterdir()] == ["small"]


def test_it_replaces_the_one_that_is_served(headrace, registered, trained, former):
    headrace("model", "pull", "small", "--version", 1, "--into", former)
    assert read_manifest(former / "small") == read_manifest(trained)
    assert [p.name for p in former.iterdir()] == ["small"]


def test_an_alias_is_set_listed_and_fetched_by(headrace, registered, tmp_path):
    assert headrace("model", "alias", "small", "--version", 1, "--as", "champion").output == (
        "champion is small version 1\n"
    )
    assert "1  champion          parity" in headrace("model", "list", "small").output
    output = headrace("model", "pull", "small", "--alias", "champion", "--into", tmp_path / "models").output
    assert "small version 1 (champion)" in output


def test_which_version_must_be_said(headrace, registered, tmp_path):
    output = headrace("model", "pull", "small", "--into", tmp_path / "models", code=1).output
    assert "no version or alias was given, needs --version or --alias: of model 'small' there is 1" in output
    assert not (tmp_path / "models").exists()


def damaged(files, how):
    manifest = json.loads((files / MANIFEST).read_text())
    version = manifest["versions"]["1"]
    if how == "byte":
        content = bytearray((files / "1" / "model.onnx").read_bytes())
        content[100] ^= 1
        (files / "1" / "model.onnx").write_bytes(content)
    elif how == "pickle":
        (files / "1" / "weights.pkl").write_bytes(b"\x80\x04.")
    elif how == "more":
        (files / "1" / "notes.txt").write_text("more")
    elif how == "less":
        (files / "config.pbtxt").unlink()
    elif how == "none":
        (files / MANIFEST).unlink()
    elif how == "field":
        del version["fingerprint"]
    elif how == "empty":
        version["fingerprint"] = ""
    elif how == "other":
        version["fingerprint"] = "0" * 64
    elif how == "name":
        manifest["name"] = "../small"
    if how in ("field", "empty", "other", "name"):
        (files / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("byte", "1/model.onnx of model 'small' has SHA-256"),
        ("pickle", "holds 1/weights.pkl, a file that can run code when loaded, needs ONNX"),
        ("more", "holds 1/notes.txt, which its headrace.json does not list"),
        ("less", "lacks config.pbtxt, which its headrace.json lists: it is half written"),
        ("none", "has no headrace.json: it is half written, or not one of ours"),
        ("field", "without fingerprint for version 1, needs all of its fields"),
        ("empty", "', needs ''"),
        ("other", "config.pbtxt of model 'small' has headrace_fingerprint"),
        ("name", "config.pbtxt of model 'small' has name 'small', needs '../small'"),
    ],
)
def test_what_is_not_a_whole_model_is_not_served(headrace, registered, former, how, said):
    served = read_manifest(former / "small")
    damaged(registered, how)
    output = headrace("model", "pull", "small", "--version", 1, "--into", former, code=1).output
    assert said in " ".join(output.split())
    assert read_manifest(former / "small") == served
    assert [p.name for p in former.iterdir()] == ["small"]


def test_a_model_of_another_view_is_refused(headrace, registered, former):
    output = headrace("model", "pull", "small", "--version", 1, "--into", former, "--app", "fraud", code=1).output
    assert "model 'small' was trained on view" in output
    assert read_manifest(former / "small").trained_on["from"] == 9


def test_what_does_not_prove_whole_is_not_put(headrace, trained, tmp_path, cluster):
    damaged(Path(shutil.copytree(trained, tmp_path / "small")), "byte")
    before = len(cluster.requests)
    assert "has SHA-256" in headrace("model", "put", tmp_path / "small", code=1).output
    assert not [path for method, path in cluster.requests[before:] if method in ("PUT", "POST")]


def test_a_model_without_a_fingerprint_is_not_put(headrace, trained, tmp_path):
    content = (trained / "1" / "model.onnx").read_bytes()
    model = write_model(tmp_path, "small", content, fingerprint="", columns=[{"name": "a"}] * 2, outputs=["p"])
    output = headrace("model", "put", model, code=1).output
    assert "model 'small' has no fingerprint, needs that of the view it was trained on" in output


def test_a_cluster_that_is_not_named(headrace, monkeypatch):
    monkeypatch.delenv("HOPSWORKS_HOST")
    assert "no host of Hopsworks was given, needs HOPSWORKS_HOST" in headrace("model", "list", "small", code=1).output


def test_a_model_that_the_registry_does_not_have_is_not_listed(headrace, registered):
    output = headrace("model", "list", "nope", code=1).output
    assert " ".join(output.split()) == "Error: there is no model 'nope' in project headrace"
