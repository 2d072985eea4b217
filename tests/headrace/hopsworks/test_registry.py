"""Models are put into Hopsworks' registry and found there by version or alias, and by nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headrace.hopsworks import registry
from headrace.hopsworks.registry import FRAME, download, find_model, put_model, set_alias, versions_of
from headrace.hopsworks.session import HopsworksError, HopsworksSettings, connect
from predictor.repository import MANIFEST, read_manifest
from tests.headrace.hopsworks.registered import VIEW, small_model


@pytest.fixture(scope="module")
def put(cluster, tmp_path_factory):
    """The models `small` 1 and 2 in the registry, the second with a frame, and their directories."""
    folder = tmp_path_factory.mktemp("models")
    settings = HopsworksSettings(cluster.host, cluster.project, cluster.api_key, cluster.port, cluster.ca_file)
    frame = folder / FRAME
    frame.write_bytes(b"a frame")
    directories = [small_model(folder / str(seed), seed) for seed in (1, 2)]
    with connect(settings) as session:
        for version, directory in enumerate(directories, start=1):
            manifest = json.loads((directory / MANIFEST).read_text())
            assert put_model(session, directory, manifest, frame if version == 2 else None) == version
    return directories


@pytest.fixture
def files(cluster):
    """The registry's files, as they lie in the cluster."""
    return Path(cluster.ca_file).parent / "files" / "Models" / "small"


def test_a_model_lies_in_the_registry_as_it_was_written(put, files, cluster):
    for version, directory in enumerate(put, start=1):
        names = {p.relative_to(directory) for p in directory.rglob("*") if p.is_file()}
        there = files / str(version) / "Files"
        assert {p.relative_to(there) for p in there.rglob("*") if p.is_file()} == names
        assert all((there / name).read_bytes() == (directory / name).read_bytes() for name in names)
    assert (files / "2" / FRAME).read_bytes() == b"a frame"
    assert not (files / "1" / FRAME).exists()
    assert cluster.unknown == []


def test_the_registry_shows_schema_and_metrics(put, files, session):
    schema = json.loads((files / "1" / "model_schema.json").read_text())
    columns = schema["input_schema"]["columnar_schema"]
    assert [(column["name"], column["type"]) for column in columns] == [("amount", "float32"), ("age", "float32")]
    assert schema["output_schema"]["tensor_schema"] == [{"name": "p", "type": "float32", "shape": ["-1"]}]
    first, second = versions_of(session, "small")
    assert (first.version, second.version, first.alias) == (1, 2, "")
    assert first.metrics["roc_auc"] == pytest.approx(0.51)
    assert set(second.metrics) == {"roc_auc", "parity"}
    assert VIEW.fingerprint in first.of.description


def test_what_is_fetched_is_what_was_put(put, session, tmp_path):
    download(session, find_model(session, "small", 2), tmp_path / "small")
    assert read_manifest(tmp_path / "small", VIEW) == read_manifest(put[1], VIEW)


def test_an_alias_moves(put, session):
    assert set_alias(session, "small", 1, "champion") is None
    assert find_model(session, "small", alias="champion").version == 1
    assert set_alias(session, "small", 2, "champion") == 1
    assert [str(one) for one in versions_of(session, "small")] == ["1", "2 (champion)"]
    assert find_model(session, "small", alias="champion").version == 2
    assert set_alias(session, "small", 2, "champion") is None


def test_an_alias_on_two_versions_means_neither(put, session):
    set_alias(session, "small", 1, "twice")
    find_model(session, "small", 2).of.add_tag(registry.ALIAS, "twice")
    with pytest.raises(HopsworksError, match="alias 'twice' of model 'small' is on versions 1, 2, needs it on one"):
        find_model(session, "small", alias="twice")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, r"^no version or alias was given, needs --version or --alias: of model 'small' there is 1.*, 2"),
        ({"version": 1, "alias": "best"}, "both a version and an alias were given, needs --version or --alias"),
        ({"version": 7}, "model 'small' has no version 7, there is 1.*, 2"),
        ({"alias": "nobody"}, "model 'small' has no alias 'nobody', there is 1.*, 2"),
    ],
)
def test_a_version_must_be_named(put, session, asked, said):
    with pytest.raises(HopsworksError, match=said):
        find_model(session, "small", **asked)


def test_a_model_that_is_not_there(session):
    with pytest.raises(HopsworksError, match="no model 'nothing' in the registry of project headrace, needs one"):
        find_model(session, "nothing", 1)


@pytest.mark.parametrize("name", ["", "a/b", "..", "small-model"])
def test_a_name_that_no_model_can_have(session, name):
    with pytest.raises(HopsworksError, match="cannot be a model of the registry, needs letters, digits"):
        find_model(session, name, 1)


@pytest.mark.parametrize("alias", ["", "1", "two words", "x" * 64, "null"])
def test_a_name_that_no_alias_can_have(session, alias):
    with pytest.raises(HopsworksError, match="cannot be an alias, needs letters, digits, - and _, a letter first"):
        set_alias(session, "small", 1, alias)


def test_without_the_right_to_the_registry(put, session, cluster):
    cluster.faults.set("control", status=403, path="/modelregistries")
    try:
        with pytest.raises(HopsworksError, match=r"may not list the versions of model small .*HTTP 403"):
            versions_of(session, "small")
    finally:
        cluster.faults.clear()


def test_a_registry_that_breaks_off(put, session, cluster, tmp_path):
    found = find_model(session, "small", 1)
    cluster.faults.set("control", truncate=True, path="/dataset/download")
    try:
        with pytest.raises(HopsworksError, match="fetch model small version 1"):
            download(session, found, tmp_path / "small")
    finally:
        cluster.faults.clear()


def test_a_model_that_does_not_come(put, session, monkeypatch):
    monkeypatch.setattr(registry, "_REGISTERED_S", 0)
    manifest = json.loads((put[0] / MANIFEST).read_text())
    with pytest.raises(HopsworksError, match="small was put into the registry and not found there within 0 s: see"):
        put_model(session, put[0], manifest)


def test_a_key_that_was_taken_back(put, session, cluster):
    """The last one: the cluster has another key from here on."""
    cluster.rotate_key()
    with pytest.raises(HopsworksError, match=r"does not accept the key \(HTTP 401\)"):
        versions_of(session, "small")
