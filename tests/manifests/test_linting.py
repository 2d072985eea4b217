"""What is looked at, how findings are told, how an object excuses itself, and that the command says all of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from headrace.cli import main
from headrace.cli.console import console
from headrace.manifests.documents import DocumentsUnreadable
from headrace.manifests.linting import Manifest, lint, sets_of
from headrace.manifests.rulebook import EVERY_RULE
from tests.architecture.code import ROOT
from tests.manifests.planting import GOOD, checked, good, one, plant

IMAGE = "registry.internal/headrace:latest"
EXCUSE = "metadata/annotations/lint.headrace.dev~1image-latest"


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    """A base with the good set, and an overlay that patches a container as a strategic merge: its list is replaced."""
    (tmp_path / "base").mkdir()
    shutil.copy(GOOD, tmp_path / "base" / "all.yaml")
    (tmp_path / "base" / "kustomization.yaml").write_text("resources: [all.yaml]\n")
    (tmp_path / "overlay").mkdir()
    (tmp_path / "overlay" / "kustomization.yaml").write_text("resources: [../base]\npatches:\n- path: more.yaml\n")
    (tmp_path / "overlay" / "more.yaml").write_text(
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: fraud}\n"
        "spec:\n  transformer:\n    containers:\n    - name: kserve-container\n      env: [{name: A, value: b}]\n"
    )
    return tmp_path / "overlay"


def command(*arguments: object) -> Result:
    """Run `headrace manifests` in this process."""
    console.width = 200
    return CliRunner().invoke(main, ["manifests", *map(str, arguments)])


def test_an_overlay_that_lost_the_image_is_found_with_the_file_of_its_object(overlay, monkeypatch):
    monkeypatch.chdir(overlay.parent)
    (manifest,) = sets_of(Path("overlay"))
    findings = lint(manifest).findings
    assert ("image-missing", "base/all.yaml", "InferenceService/fraud", "spec.transformer.containers[0].image") in [
        (each.rule, each.file, each.object, each.path) for each in findings
    ]
    assert {"requests-missing", "limits-missing", "privilege-escalation"} <= {each.rule for each in findings}


def test_a_folder_is_its_kustomizations_and_the_files_that_are_part_of_none(overlay):
    (overlay.parent / "loose").mkdir()
    shutil.copy(GOOD, overlay.parent / "loose" / "all.yaml")
    (overlay.parent / "part").mkdir()
    (overlay.parent / "part" / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
    )
    found = list(sets_of(overlay.parent))
    assert [Path(each.name).name for each in found] == ["base", "overlay", overlay.parent.name]
    assert [len(each.objects) for each in found] == [len(good())] * 3


@pytest.mark.parametrize(
    ("made", "said"), [(True, "has no manifests in it, needs YAML files or kustomizations"), (False, "is not there")]
)
def test_where_nothing_is_there_is_nothing_to_look_at(tmp_path, made, said):
    if made:
        (tmp_path / "empty").mkdir()
    with pytest.raises(DocumentsUnreadable, match=said):
        list(sets_of(tmp_path / "empty"))


def test_a_component_is_looked_at_where_it_is_used(tmp_path):
    (tmp_path / "kustomization.yaml").write_text("apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n")
    with pytest.raises(DocumentsUnreadable, match=r"is a component, .* look at an overlay that lists it"):
        list(sets_of(tmp_path))


def test_a_finding_says_where_what_why_and_the_fix():
    objects = good()
    plant(one(objects, "InferenceService/fraud"), {"spec/transformer/containers/0/image": IMAGE})
    (finding,) = lint(Manifest("planted", objects, {id(objects[0]): "base/all.yaml"})).findings
    assert finding.as_dict() == {
        "file": "base/all.yaml",
        "object": "InferenceService/fraud",
        "path": "spec.transformer.containers[0].image",
        "rule": "image-latest",
        "found": f"the image is {IMAGE}, a tag that moves",
        "why": "two pods of one Deployment may run different programs, and nobody can go back to the former one",
        "fix": "name the image by its exact version or its digest, in one `images:` block",
    }


def test_an_object_excuses_itself_with_a_reason():
    objects = good()
    service = one(objects, "InferenceService/fraud")
    plant(service, {"spec/transformer/containers/0/image": IMAGE, EXCUSE: "built on this machine every minute"})
    assert checked(objects).findings == ()


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({EXCUSE: "a reason"}, {"excuse-unfounded": "no rule image-latest finds anything in the object"}),
        (
            {EXCUSE.replace("latest", "latst"): "a reason"},
            {"excuse-unfounded": "no rule image-latst finds anything in the object"},
        ),
        (
            {EXCUSE: " ", "spec/transformer/containers/0/image": IMAGE},
            {
                "excuse-unfounded": "the excuse from image-latest has no reason",
                "image-latest": f"the image is {IMAGE}, a tag that moves",
            },
        ),
    ],
)
def test_an_excuse_that_excuses_nothing_is_a_finding(changes, found):
    objects = good()
    plant(one(objects, "InferenceService/fraud"), changes)
    assert {each.rule: each.found for each in checked(objects).findings} == found


def test_an_excuse_holds_for_its_own_object_alone():
    objects = good()
    plant(one(objects, "InferenceService/fraud"), {"spec/transformer/containers/0/image": IMAGE})
    plant(one(objects, "Service/fraud-predictor"), {EXCUSE: "a reason"})
    assert {each.rule for each in checked(objects).findings} == {"image-latest", "excuse-unfounded"}


def test_the_command_tells_findings_and_ends_with_1(overlay):
    told = command("lint", overlay)
    assert told.exit_code == 1
    assert "overlay: 11 objects, " in told.output
    assert "image-missing  at spec.transformer.containers[0].image" in told.output
    assert "fix: give the container an image; patch lists of CRDs by JSON6902" in told.output


def test_the_command_ends_with_0_where_nothing_is_found():
    told = command("lint", GOOD)
    assert (told.exit_code, told.output.splitlines()[0]) == (0, "good.yaml: 11 objects, no findings")


def test_the_command_reads_a_render_from_the_standard_input():
    told = CliRunner().invoke(main, ["manifests", "lint", "-"], input=GOOD.read_text().replace(":0.1.0", ":latest"))
    assert told.exit_code == 1
    assert "standard input: 11 objects, 1 finding\n" in told.output
    assert "InferenceService/fraud  in -\n  image-latest  at " in told.output


def test_the_command_tells_machines_in_json(overlay):
    told = json.loads(command("lint", overlay, "--json").stdout)
    (one_set,) = told["sets"]
    assert one_set["objects"] == 11
    assert {"file", "object", "path", "rule", "found", "why", "fix"} == set(one_set["findings"][0])
    assert json.loads(command("lint", GOOD, "--json").stdout)["sets"][0]["findings"] == []


def test_the_command_checks_with_the_definitions_it_is_given(tmp_path):
    told = command("lint", GOOD, "--crds", tmp_path)
    assert "no schema here of InferenceGraph (serving.kserve.io/v1alpha1) x1" in told.output
    assert "none is no folder" in command("lint", GOOD, "--crds", tmp_path / "none").output


def test_the_command_says_what_it_cannot_look_at(tmp_path):
    told = command("lint", tmp_path / "none.yaml")
    assert (told.exit_code, "none.yaml is not there" in told.output) == (2, True)


def test_the_command_lists_the_rules():
    told = command("rules").output
    assert all(rule.name in told and rule.why in told and rule.fix in told for rule in EVERY_RULE)
    listed = json.loads(command("rules", "--json").stdout)
    assert [each["rule"] for each in listed] == [rule.name for rule in EVERY_RULE]


ANYTHING = st.sampled_from([None, 0, -1, True, 1.5, "", "x", "1Gi", [], [None], ["x"], {}, {"name": None}, [{}], [[]]])


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the paths of everything in a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(each for name, part in inner for each in places(part, (*path, name)))]


PLACES = [(at, path) for at, each in enumerate(good()) for path in places(each) if path and path != ("kind",)]


@pytest.mark.parametrize(
    ("owner", "path", "value"),
    [
        ("InferenceService/fraud", "spec/transformer/containers/0/ports/0/name", []),
        ("InferenceService/fraud", "spec/transformer/containers/0/livenessProbe/httpGet/port", {}),
        ("InferenceService/fraud", "apiVersion", []),
        ("ServingRuntime/headrace-triton", "spec/containers/0/lifecycle/preStop/exec/command", 1.5),
        ("InferenceGraph/fraud-graph", "spec/nodes/share/steps/1/nodeName", {"a": "b"}),
        ("Deployment/fraud-pipeline-payments", "apiVersion", "../apps/v1"),
        ("Deployment/fraud-pipeline-payments", "kind", "\x00"),
        ("Deployment/fraud-pipeline-payments", "spec/template", None),
    ],
)
def test_a_malformed_object_is_looked_at_like_any_other(owner, path, value):
    objects = good()
    plant(one(objects, owner), {path: value})
    assert checked(objects).findings or checked(objects).unchecked


@given(st.lists(st.tuples(st.sampled_from(PLACES), ANYTHING), min_size=1, max_size=4))
def test_no_rule_fails_on_an_object_that_is_malformed(spoiled):
    objects = good()
    for (at, path), value in spoiled:
        holder: object = objects[at]
        for part in path[:-1]:
            holder = holder[part] if _holds(holder, part) else None  # type: ignore[index]
        if _holds(holder, path[-1]):
            holder[path[-1]] = value  # type: ignore[index]
    report = checked(objects)
    assert report.objects == len(objects)


def _holds(holder: object, part: str | int) -> bool:
    if isinstance(holder, list):
        return isinstance(part, int) and part < len(holder)
    return isinstance(holder, dict) and part in holder


def test_without_the_extra_it_says_what_to_install():
    code = "import sys; sys.modules['kubernetes_validate'] = None; from headrace.cli import main; main()"
    command = [sys.executable, "-c", code, "manifests", "lint", str(GOOD)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert "kubernetes_validate is not installed" in told.stderr
    assert "pip install 'headrace[manifests]'" in told.stderr
