"""`rollback` and `history`: model, view and functions come back together, from what was kept."""

from __future__ import annotations

import random

import pytest

from headrace.manifests.applying import Set
from headrace.manifests.cluster_faults import AlreadyThere
from headrace.manifests.revisions import KEPT, NoSuchRevision, Outcome, Revisions, RevisionUnusable
from tests.kubernetes.sets import VIEWS, fraud


def served(stand_in) -> tuple[str, str, str, str, str]:
    """What the cluster was told to serve: model, view, functions, the transformer's image, a setting of it."""
    held = stand_in.get("InferenceService", "fraud")
    said = held["metadata"]["annotations"]
    marks = tuple(said[f"headrace.dev/{name}"] for name in ("model-version", "fingerprint", "functions"))
    image = held["spec"]["transformer"]["containers"][0]["image"]
    return *marks, image, stand_in.get("ConfigMap", "fraud-transformer")["data"].get("LEVEL", "")


def test_model_view_and_functions_come_back_together(apply, manifests, stand_in):
    apply(fraud(1, image="1.0.0", LEVEL="info"))
    before = served(stand_in)
    apply(fraud(2, image="2.0.0", LEVEL="debug"))
    assert served(stand_in) == ("2", VIEWS[2], "f2" * 8, "headrace/transformer:2.0.0", "debug")
    said = manifests("rollback", "fraud", "--settle", 0).output
    first = "model 1, view 11aa11aa11aa, functions f1f1f1f1f1f1"
    second = "model 2, view 22bb22bb22bb, functions f2f2f2f2f2f2"
    assert said.startswith(f"rolling back fraud to revision 1: {second} becomes {first}\n")
    assert said.endswith(f"fraud is ready: revision 3, {first}, 3 objects changed\n")
    assert served(stand_in) == before
    pods = [stand_in.get("Pod", name) for name in ("fraud-predictor-0", "fraud-transformer-0")]
    assert {pod["metadata"]["annotations"]["headrace.dev/fingerprint"] for pod in pods} == {VIEWS[1]}


def test_a_rollback_after_a_rollback_goes_on_to_the_one_before(apply, manifests, stand_in):
    for version in (1, 2, 3):
        apply(fraud(version))
    for version in ("2", "1"):
        manifests("rollback", "fraud", "--settle", 0)
        assert served(stand_in)[0] == version
    said = manifests("rollback", "fraud", code=1).output
    assert said.startswith(
        "Error: fraud has no former revision that was ready in shop, its revisions are: 1 (ready), 2"
    )
    manifests("rollback", "fraud", "--to", 3, "--settle", 0)
    assert served(stand_in)[0] == "3"
    said = manifests("history", "fraud").output
    assert [line.split()[0] for line in said.splitlines()[1:]] == ["1", "2", "3", "4", "5", "6"]
    assert "rollback to revision 3" in said


def test_what_a_newer_set_brought_is_deleted_where_it_is_asked_for(apply, manifests, stand_in):
    extra = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}, "data": {}}
    apply(fraud(1))
    apply([*fraud(2), extra])
    assert "- ConfigMap extra left the set" in manifests("rollback", "fraud", "--settle", 0).output
    manifests("rollback", "fraud", "--to", 2, "--settle", 0)
    assert "deleted ConfigMap extra\n" in manifests("rollback", "fraud", "--prune", "--settle", 0).output


def test_there_is_nothing_to_go_back_to(manifests):
    assert "has no revision 7 in shop, its revisions are: none" in manifests("rollback", "x", "--to", 7, code=1).output
    assert manifests("history", "x").output.startswith("x has no revisions in stand-in (")


def test_the_oldest_revisions_are_forgotten_but_never_the_last_ready_one(apply, cluster):
    apply(fraud(1))
    history = Revisions(cluster, "fraud")
    for _ in range(KEPT + 2):
        history.end(history.begin(fraud(2), "apply", "now"), Outcome.FAILED, "broken")
    kept = [revision.number for revision in Revisions(cluster, "fraud").all]
    assert kept == [1, *range(KEPT - 6, KEPT + 4)]
    assert history.target(None).number == 1


def test_two_applies_at_once_are_told_apart(cluster):
    first, second = Revisions(cluster, "fraud"), Revisions(cluster, "fraud")
    first.begin(fraud(1), "apply", "now")
    with pytest.raises(AlreadyThere, match="another apply has just begun revision 1 of fraud"):
        second.begin(fraud(2), "apply", "now")


def test_an_apply_that_never_ended_is_told_of(apply, cluster):
    Revisions(cluster, "fraud").begin(fraud(1), "apply", "noon")
    said = apply(fraud(1)).output
    assert "warning: revision 1 began at noon and never ended: it was killed, or goes on elsewhere\n" in said


def test_a_revision_that_was_tampered_with_is_named(apply, manifests, stand_in):
    apply(fraud(1))
    apply(fraud(2))
    stand_in.edit("ConfigMap", "headrace-revision-fraud-1", lambda of: of["binaryData"].update(objects="AAAA"))
    said = manifests("rollback", "fraud", code=1).output
    assert "ConfigMap headrace-revision-fraud-1 cannot be read (" in said
    assert said.endswith("apply the set anew\n")
    stand_in.edit("ConfigMap", "headrace-revision-fraud-1", lambda of: of["data"].pop("number"))
    said = manifests("history", "fraud", code=1).output
    assert "ConfigMap headrace-revision-fraud-1 is no revision any more ('number'): delete it" in said


def test_a_set_too_large_to_keep_is_refused(cluster):
    large = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    large["data"] = {"x": random.Random(1).randbytes(900_000).hex()}
    with pytest.raises(RevisionUnusable, match="bytes compressed, a revision can keep 1,000,000"):
        Revisions(cluster, "x").begin([large], "apply", "now")


def test_a_set_is_what_its_objects_say(cluster):
    of = Set.of(fraud(), cluster, None, None)
    assert (of.name, of.cluster.home, len(of.objects)) == ("fraud", "shop", 5)
    with pytest.raises(NoSuchRevision):
        Revisions(of.cluster, "fraud").target(None)
