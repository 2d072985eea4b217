"""What a schema can say: fields nobody knows, values of the wrong kind, elements that are there twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.manifests import core_kinds
from headrace.manifests.documents import DocumentsUnreadable, objects_of
from headrace.manifests.linting import Manifest, lint
from headrace.manifests.schemas import Definitions, default_crds, strict
from tests.manifests.planting import checked, good, one, plant

RING = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rings.example.org}
spec:
  group: example.org
  names: {kind: Ring, plural: rings}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        required: [spec]
        properties:
          apiVersion: {type: string}
          kind: {type: string}
          metadata: {type: object}
          spec:
            type: object
            required: [size, form]
            properties:
              size: {type: integer, minimum: 1, format: int32}
              form: {type: string, default: round}
              metal: {type: string, enum: [gold, silver]}
              port: {x-kubernetes-int-or-string: true}
              limit:
                anyOf: [{type: integer}, {type: string}]
                pattern: '^[0-9]+(Mi)?$'
                x-kubernetes-int-or-string: true
              note: {type: string, nullable: true}
              labels: {type: object, additionalProperties: {type: string}}
              free: {type: object, properties: {a: {type: string}}, x-kubernetes-preserve-unknown-fields: true}
              stones:
                type: array
                items:
                  type: object
                  properties: {name: {type: string}, protocol: {type: string}, cut: {type: string}}
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name, protocol]
  - name: v1alpha1
    served: false
    storage: false
    schema: {openAPIV3Schema: {type: object}}
"""


@pytest.fixture
def definitions(tmp_path: Path) -> Path:
    (tmp_path / "ring.yaml").write_text(RING)
    (tmp_path / "other.yaml").write_text(RING.replace("Ring", "Chain"))
    return tmp_path


def faults(definitions: Path, spec: str, version: str = "v1") -> list[str]:
    """Return what is wrong with a ring, as `path: what was found`."""
    objects = objects_of(f"apiVersion: example.org/{version}\nkind: Ring\nmetadata: {{name: a}}\nspec: {spec}", "ring")
    findings = lint(Manifest("rings", objects, {}), definitions).findings
    assert {each.rule for each in findings} <= {"definition-schema"}
    return [f"{each.path}: {each.found}" for each in findings]


@pytest.mark.parametrize(
    "spec",
    [
        "{size: 1}",
        "{size: 3, metal: gold, note: null, labels: {any: thing}}",
        "{size: 3, metal: null, port: 80, limit: 10}",
        "{size: 3, port: http, limit: 10Mi, free: {a: x, b: {c: 1}}}",
        "{size: 3, stones: [{name: a}, {name: b}, {name: a, protocol: UDP}]}",
    ],
)
def test_what_a_cluster_takes_is_taken(definitions, spec):
    assert faults(definitions, spec) == []


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("{size: 1, mettal: gold}", "spec: 'mettal' is unknown there; did you mean 'metal'?"),
        ("{size: 1, weight: 2}", "spec: 'weight' is unknown there"),
        ("{metal: gold}", "spec: 'size' is missing there"),
        ("{size: one}", "spec.size: it is a text, needs integer"),
        ("{size: 0}", "spec.size: it is a whole number that does not meet minimum 1"),
        ("{size: 2147483648}", "spec.size: it is a whole number that does not meet maximum 2147483647"),
        ("{size: 1, metal: tin}", "spec.metal: it is a text that is none of gold, silver"),
        ("{size: 1, port: 1.5}", "spec.port: it is a number, needs integer or string"),
        ("{size: 1, limit: 10 Mi}", "spec.limit: it is a text that does not meet pattern ^[0-9]+(Mi)?$"),
        ("{size: 1, labels: {a: 1}}", "spec.labels.a: it is a whole number, needs string"),
        ("{size: 1, free: {a: 1}}", "spec.free.a: it is a whole number, needs string"),
        ("{size: 1, stones: [{name: a, cuts: x}]}", "spec.stones[0]: 'cuts' is unknown there; did you mean 'cut'?"),
        (
            "{size: 1, stones: [{name: a}, {name: b}, {name: a, protocol: TCP}]}",
            "spec.stones[2]: name a and protocol TCP is there already",
        ),
    ],
)
def test_a_mistake_is_found_at_its_place(definitions, spec, found):
    assert faults(definitions, spec) == [found]


def test_a_version_that_is_not_served_is_not_defined(definitions):
    assert faults(definitions, "{size: 1}", "v1alpha1") == ["apiVersion: version 'v1alpha1' is not defined, v1 is"]


def test_a_value_that_is_refused_is_not_shown(definitions):
    assert "hunter2" not in " ".join(faults(definitions, "{size: hunter2, metal: hunter2, limit: hunter2}"))


def test_only_what_defines_the_kinds_of_a_set_is_read(definitions):
    (definitions / "broken.yaml").write_text("kind: Unrelated\n: [")
    ring = objects_of("{apiVersion: example.org/v1, kind: Ring}", "ring")[0]
    assert Definitions(definitions, {"Ring"}).knows(ring)
    assert not Definitions(definitions, {"Chain"}).knows(ring)


def test_a_definition_that_says_nothing_defines_nothing(tmp_path):
    minimal = RING.partition("        type: object\n")[0] + "        type: object\n"
    (tmp_path / "ring.yaml").write_text(minimal)
    ring = objects_of("{apiVersion: example.org/v1, kind: Ring, metadata: {name: a}, spec: {sise: 1}}", "ring")
    assert lint(Manifest("rings", ring, {}), tmp_path).unchecked == {"Ring (example.org/v1)": 1}


def test_definitions_as_a_cluster_gives_them_are_read(tmp_path):
    items = "".join(f"- {line}\n" if line.startswith("apiVersion") else f"  {line}\n" for line in RING.splitlines()[1:])
    (tmp_path / "all.yaml").write_text(f"apiVersion: v1\nkind: List\nitems:\n{items}")
    assert faults(tmp_path, "{size: 1, mettal: gold}") == ["spec: 'mettal' is unknown there; did you mean 'metal'?"]


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(DocumentsUnreadable, match=r"none is no folder, needs one of CustomResourceDefinitions"):
        Definitions(tmp_path / "none", {"Ring"})


def test_definitions_are_looked_for_where_the_environment_says(tmp_path):
    with pytest.raises(DocumentsUnreadable, match=r"HEADRACE_SPECS is '.*', needs a folder that has kserve-crds in it"):
        default_crds({"HEADRACE_SPECS": str(tmp_path)})
    (tmp_path / "kserve-crds").mkdir()
    assert default_crds({"HEADRACE_SPECS": str(tmp_path)}) == tmp_path / "kserve-crds"


def test_a_schema_without_fields_takes_any():
    assert strict({"type": "object", "description": "free"}) == {"type": ["object", "null"]}


@pytest.mark.parametrize(
    ("owner", "changes", "place", "found"),
    [
        ("Deployment/fraud-pipeline-payments", {"spec/replica": 2}, "spec", "did you mean 'replicas'?"),
        ("Deployment/fraud-pipeline-payments", {"spec/replicas": "2"}, "spec.replicas", "it is a text, needs integer"),
        (
            "Service/fraud-predictor",
            {"spec/ports/1/port": 9000},
            "spec.ports[1]",
            "port 9000 and protocol TCP is there",
        ),
        ("Service/fraud-predictor", {"metadata/anotations": {}}, "metadata", "did you mean 'annotations'?"),
        ("InferenceService/fraud", {"metadata/label": {}}, "metadata", "did you mean 'labels'?"),
        (
            "InferenceGraph/fraud-graph",
            {"metadata/labels": {"a": 1}},
            "metadata.labels.a",
            "a whole number, needs string",
        ),
        ("ConfigMap/fraud-limits", {"data/deadline": 50}, "data.deadline", "it is a whole number, needs string"),
    ],
)
def test_kubernetes_own_kinds_and_all_metadata_are_checked(owner, changes, place, found):
    objects = good()
    plant(one(objects, owner), changes)
    findings = checked(objects).findings
    assert ("core-schema", owner, place) in [(each.rule, each.object, each.path) for each in findings]
    assert found in " ".join(each.found for each in findings)


def test_a_kind_that_has_no_schema_is_named_and_held_against_the_rules():
    monitor = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": {"name": "a"}, "spec": {}}
    report = lint(Manifest("one", [monitor, dict(monitor, metadata={"name": "b"})], {}))
    assert report.unchecked == {"PodMonitor (monitoring.coreos.com/v1)": 2}
    assert not core_kinds.knows(monitor)


@pytest.mark.parametrize("kind", [("v1", "Container"), ("apps/v1", "DeploymentSpec"), ("apps/v2", "Deployment")])
def test_a_part_of_a_kind_is_no_kind(kind):
    assert not core_kinds.knows({"apiVersion": kind[0], "kind": kind[1]})
