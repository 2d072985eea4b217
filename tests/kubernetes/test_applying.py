"""`apply` and `diff`: what they change, what they never change, and what they say."""

from __future__ import annotations

from base64 import b64encode

import pytest
from click.testing import CliRunner

from headrace.cli import main
from headrace.manifests.documents import write_yaml
from headrace.manifests.revisions import Revisions
from tests.kubernetes.sets import fraud, namespace, pipeline, secret


def test_a_set_is_applied_in_order_and_kept_as_a_revision(apply, stand_in):
    said = apply(fraud()).output
    assert said.startswith(f"applying fraud: 5 objects to stand-in ({stand_in.url}), namespace shop\n")
    assert "revision 1 of fraud: model 1, view 11aa11aa11aa, functions f1f1f1f1f1f1\n" in said
    order = [line.split()[1] for line in said.splitlines() if line.startswith("+")]
    assert order == ["ServiceAccount", "ConfigMap", "ServingRuntime", "Deployment", "InferenceService"]
    assert said.endswith(
        "fraud is ready: revision 1, model 1, view 11aa11aa11aa, functions f1f1f1f1f1f1, 5 objects changed\n"
    )
    kept = stand_in.get("ConfigMap", "headrace-revision-fraud-1")
    assert kept["data"]["outcome"] == "ready"
    held = stand_in.get("InferenceService", "fraud")
    assert held["metadata"]["labels"]["headrace.dev/set"] == "fraud"
    managers = {each["manager"] for each in held["metadata"]["managedFields"] if "f:spec" in each["fieldsV1"]}
    assert managers == {"headrace"}


def test_an_apply_that_changes_nothing_makes_no_revision(apply, manifests, rendered, stand_in):
    apply(fraud())
    assert manifests("diff", rendered(fraud())).output.endswith("namespace shop\n")
    assert apply(fraud()).output.endswith("nothing to do: fraud is as declared and ready\n")
    assert stand_in.names("ConfigMap") == ["fraud-transformer", "headrace-revision-fraud-1"]


def test_diff_shows_what_the_cluster_would_change_and_changes_nothing(apply, manifests, rendered, stand_in):
    apply(fraud())
    said = manifests("diff", rendered([*fraud()[:-1], pipeline("1.1.0")]), code=3).output
    assert "InferenceService" not in said  # what stays as it is is not shown
    assert "--- Deployment fraud-pipeline-payments in the cluster\n+++ Deployment fraud-pipeline-payments as" in said
    assert "-      - image: headrace/pipeline:1.0.0\n" in said
    assert "+      - image: headrace/pipeline:1.1.0\n" in said
    assert "progressDeadlineSeconds" not in said  # the cluster's own default differs from nothing
    assert said.endswith(f"1 object of 5 would change in stand-in ({stand_in.url}), namespace shop\n")
    assert not [asked for asked in stand_in.rules.asked if asked.startswith(("create", "delete"))][1:]
    brief = manifests("diff", rendered([*fraud()[:-1], pipeline("1.1.0")]), "--brief", code=3).output
    assert brief.splitlines()[0] == "~ Deployment fraud-pipeline-payments"
    assert brief.count("\n") == 2


def test_a_field_that_is_declared_no_more_goes_and_one_that_another_set_stays(apply, stand_in):
    apply(fraud(LEVEL="debug"))
    stand_in.edit("ConfigMap", "fraud-transformer", lambda of: of["data"].update(OTHERS="theirs"))
    apply(fraud())
    data = stand_in.get("ConfigMap", "fraud-transformer")["data"]
    assert data == {"HEADRACE_DEADLINE_MS": "200", "OTHERS": "theirs"}


def test_a_conflict_names_manager_and_field_and_changes_nothing(apply, manifests, rendered, stand_in):
    apply(fraud())
    stand_in.edit("Deployment", "fraud-pipeline-payments", lambda of: of["spec"].update(replicas=3), "hpa-controller")
    stand_in.edit("ConfigMap", "fraud-transformer", lambda of: of["data"].update(HEADRACE_DEADLINE_MS="900"))
    said = apply(fraud(2), code=1).output
    assert "Error: nothing was changed:\n" in said
    assert "ConfigMap fraud-transformer: .data.HEADRACE_DEADLINE_MS is set by kubectl-edit\n" in said
    assert "Deployment fraud-pipeline-payments: .spec.replicas is set by hpa-controller\n" in said
    assert "take the fields over by --force-conflicts, or leave them out of the manifests" in said
    assert "an autoscaler sets .spec.replicas: leave it out" in said
    assert "headrace-revision-fraud-2" not in stand_in.names("ConfigMap")
    assert stand_in.get("InferenceService", "fraud")["metadata"]["annotations"]["headrace.dev/model-version"] == "1"

    shown = manifests("diff", rendered(fraud()), code=3).output
    assert "~ ConfigMap fraud-transformer; .data.HEADRACE_DEADLINE_MS is set by kubectl-edit\n" in shown
    assert "-  HEADRACE_DEADLINE_MS: '900'\n+  HEADRACE_DEADLINE_MS: '200'\n" in shown
    apply(fraud(2), "--force-conflicts")
    assert stand_in.get("Deployment", "fraud-pipeline-payments")["spec"]["replicas"] == 1


def test_a_dry_run_is_checked_by_the_cluster_and_changes_nothing(apply, stand_in):
    said = apply(fraud(), "--dry-run").output
    assert said.endswith("the cluster would take all of it; nothing was changed\n")
    assert said.count("\n+ ") == 5
    assert stand_in.names("ConfigMap") == stand_in.names("InferenceService") == []


def test_all_that_the_cluster_refuses_is_told_at_once_and_nothing_is_changed(apply, stand_in):
    stand_in.rules.refused = {"fraud-transformer": "data: Too long", "headrace-triton": "spec.ports: Required value"}
    stand_in.rules.forbidden = {("patch", "serviceaccounts")}
    said = apply(fraud(), code=1).output
    assert 'ConfigMap. "fraud-transformer" is invalid: data: Too long' in said
    assert '"headrace-triton" is invalid: spec.ports: Required value' in said
    assert "not allowed to patch serviceaccounts/fraud in shop" in said
    assert stand_in.names("InferenceService") == stand_in.names("ConfigMap") == []


def test_the_clusters_warnings_are_shown(apply, stand_in):
    warning = 'would violate PodSecurity "restricted:latest": runAsNonRoot != true (container "pipeline")'
    stand_in.rules.warnings = {"fraud-pipeline-payments": warning}
    assert f"warning: Deployment fraud-pipeline-payments: {warning}\n" in apply(fraud()).output


def test_only_what_is_ours_and_holds_no_data_is_pruned_and_only_when_asked_for(apply, stand_in):
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "store"}, "spec": {}}
    extra = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}, "data": {}}
    taken = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "taken"}, "data": {}}
    apply([*fraud(), claim, extra, taken])
    stand_in.edit("ConfigMap", "taken", lambda of: of["metadata"].update(labels={}))
    said = apply(fraud()).output
    assert "- ConfigMap extra left the set; --prune deletes it\n" in said
    assert "taken" not in said
    assert "extra" in stand_in.names("ConfigMap")
    said = apply(fraud(), "--prune").output
    assert "deleted ConfigMap extra\n" in said
    assert "kept PersistentVolumeClaim store: it may hold what is needed, delete it by hand\n" in said
    assert stand_in.names("ConfigMap") == [
        "fraud-transformer",
        *(f"headrace-revision-fraud-{n}" for n in (1, 2)),
        "taken",
    ]


def test_a_set_may_bring_its_namespace(apply, manifests, rendered, stand_in):
    brought = [namespace("fresh"), *({**of, "metadata": {**of["metadata"], "namespace": "fresh"}} for of in fraud())]
    assert "+ Namespace fresh\n" in manifests("diff", rendered(brought), code=3).output
    assert "6 objects changed" in apply(brought).output
    assert "headrace-revision-fraud-1" in stand_in.names("ConfigMap", "fresh")


def test_values_of_secrets_are_neither_shown_nor_kept(apply, manifests, rendered, stand_in, cluster):
    first = apply([*fraud(), secret("hunter2")]).output
    shown = manifests("diff", rendered([*fraud(), secret("hunter3")]), code=3).output
    assert "password: (covered, another value)" in shown
    assert "hunter" not in first + shown
    assert stand_in.get("Secret", "fraud-kafka")["data"] == {"password": b64encode(b"hunter2").decode()}
    (revision,) = Revisions(cluster, "fraud").all
    assert "Secret" not in {each["kind"] for each in revision.objects()}


def test_a_model_that_is_published_over_the_former_one_is_warned_of(apply):
    apply(fraud(1, storage="s3://models/fraud"))
    said = apply(fraud(2, storage="s3://models/fraud")).output
    assert "its storageUri stays s3://models/fraud: a rollback could not bring the former one back" in said
    assert "storageUri" not in apply(fraud(3)).output


def test_what_is_not_waited_for_is_told_so(apply, stand_in):
    stand_in.behave(lambda of: "unseen")
    assert "fraud is applied, not waited for: revision 1" in apply(fraud(), "--no-wait").output
    assert stand_in.get("ConfigMap", "headrace-revision-fraud-1")["data"]["outcome"] == "applied"
    assert "--prune deletes once all is ready" in apply(fraud(), "--no-wait", "--prune", code=2).output


@pytest.mark.parametrize(
    ("objects", "words", "message"),
    [
        ([], (), "there is no object to apply, needs a folder or file that has some"),
        (fraud() + fraud()[:1], (), "InferenceService fraud is there twice, needs to be one object"),
        ([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}], (), "a ConfigMap has no metadata.name"),
        ([{**secret("x"), "metadata": {"name": "x"}}], (), "needs one name to be found again by: give --name"),
        ([namespace("x"), *fraud()], ("-n", "default", "--dry-run"), ""),
    ],
)
def test_what_cannot_be_a_set(apply, objects, words, message):
    assert message in apply(objects, *words, code=1 if message else 0).output


def test_an_object_for_another_namespace_than_the_one_that_is_said(apply, stand_in):
    elsewhere = [{**of, "metadata": {**of["metadata"], "namespace": "default"}} for of in fraud()]
    said = apply(elsewhere, "-n", "shop", code=1).output
    assert "InferenceService fraud is for the namespace default, --namespace is shop: nothing was changed" in said
    apply(elsewhere)
    assert stand_in.names("InferenceService", "default") == ["fraud"]


def test_a_set_may_come_from_standard_input_and_a_folder_must_be_one(manifests, stand_in, tmp_path):
    words = ["manifests", "apply", "-", "--dry-run"]
    said = CliRunner().invoke(main, words, input=write_yaml(fraud())).output
    assert said.startswith("applying fraud: 5 objects")
    said = manifests("apply", tmp_path, code=1).output
    assert f"{tmp_path} has no kustomization.yaml, needs one to be rendered" in said
    assert "absent.yaml cannot be read" in manifests("apply", tmp_path / "absent.yaml", code=1).output


def test_a_set_may_bring_the_definition_of_a_kind(apply, manifests, rendered, stand_in):
    names = {"kind": "Mill", "plural": "mills"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [{"name": "v1", "served": True, "storage": True, "schema": schema}]
    spec = {"group": "headrace.dev", "names": names, "scope": "Namespaced", "versions": versions}
    metadata = {"name": "mills.headrace.dev"}
    definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": metadata}
    mill = {"apiVersion": "headrace.dev/v1", "kind": "Mill", "metadata": {"name": "wheel"}, "spec": {"wheels": 2}}
    brought = [mill, *fraud(), {**definition, "spec": spec}]
    assert "+ Mill wheel\n" in manifests("diff", rendered(brought), code=3).output
    said = apply(brought).output
    assert "CustomResourceDefinition mills.headrace.dev: ready\n" in said
    assert "+ Mill wheel\n" in said
    assert (
        "knows no Mill of headrace.dev/v2"
        in apply([{**mill, "apiVersion": "headrace.dev/v2"}, *fraud()], code=1).output
    )


def test_what_others_make_may_be_left_out(apply, stand_in):
    brought = [namespace("shop"), *fraud()]
    stand_in.rules.forbidden = {("get", "namespaces"), ("patch", "namespaces")}
    said = apply(brought, code=1).output
    rule = 'apiGroups: [""], resources: ["namespaces"], verbs: ["get"]'
    assert f"it needs a ClusterRole with the rule {{{rule}}}; or leave it to others by --without Namespace\n" in said
    assert "fraud is ready" in apply(brought, "--without", "Namespace").output
    said = apply(brought, "--without", "Service", code=1).output
    assert "rendered.yaml has no such kind: it has ConfigMap, Deployment, InferenceService, Namespace" in said
