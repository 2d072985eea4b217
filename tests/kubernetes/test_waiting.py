"""What does not get ready: the reason shown, the former set brought back, nothing left half done."""

from __future__ import annotations

from itertools import count

import pytest

from headrace.manifests.revisions import Revisions
from headrace.manifests.sets import Ref
from headrace.manifests.waiting import Clock, NotReady, Patience, Wait
from tests.kubernetes.sets import VIEWS, fraud

SERVICE = Ref("serving.kserve.io/v1beta1", "InferenceService", "shop", "fraud")


def broken(version: int, how: str):
    """A behaviour: whatever belongs to a version of the model does not get ready in some way."""
    return lambda of: how if VIEWS[version] in str(of.get("spec")) else "ready"


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (
            "crash",
            "CrashLoopBackOff: back-off 40s restarting failed container; it ended 3 times, last with exit code 1",
        ),
        ("blocked", "BlockedByFailedLoad: ModelLoadFailed: model.onnx is not an ONNX file"),
    ],
)
def test_a_predictor_that_never_gets_ready_is_rolled_back_with_the_reason(apply, manifests, stand_in, how, reason):
    apply(fraud(1))
    stand_in.behave(broken(2, how))
    said = apply(fraud(2, LEVEL="debug"), "--failing", 0, code=1).output
    assert reason in said
    assert "not ready: going back to revision 1 (model 1, view 11aa11aa11aa, functions f1f1f1f1f1f1)\n" in said
    assert "Error: revision 2 of fraud did not get ready: not ready and failing for 0 s:" in said
    assert said.endswith("rolled back: it serves model 1, view 11aa11aa11aa, functions f1f1f1f1f1f1 (1, again as 3)\n")

    held = stand_in.get("InferenceService", "fraud")
    assert held["spec"] == fraud(1)[0]["spec"]
    assert "LEVEL" not in stand_in.get("ConfigMap", "fraud-transformer")["data"]
    assert "revision 3, rollback to revision 1, ready" in manifests("status", "fraud").output
    assert stand_in.get("ConfigMap", "headrace-revision-fraud-2")["data"]["outcome"] == "failed"
    assert reason in stand_in.get("ConfigMap", "headrace-revision-fraud-2")["data"]["reason"]


def test_the_events_of_what_fails_are_shown(apply, stand_in):
    stand_in.behave(broken(1, "crash"))
    said = apply(fraud(1), "--failing", 0, code=1).output
    assert "event: Pod fraud-predictor-0: BackOff: Back-off restarting failed container kserve-container" in said
    assert "its last words: kubectl logs -n shop fraud-predictor-0 -c kserve-container --previous\n" in said
    assert "there is no former revision that was ready: what was applied is left as it is\n" in said
    assert stand_in.names("InferenceService") == ["fraud"]


def test_a_set_that_nobody_sees_to_is_given_up_at_the_deadline(apply, stand_in):
    stand_in.behave(lambda of: "unseen")
    said = apply(fraud(1), "--timeout", 0, code=1).output
    assert "not ready within 0 s:\n" in said
    assert "InferenceService fraud: it has no status yet: is KServe's controller running?\n" in said
    assert "Deployment fraud-pipeline-payments: its controller has not seen the change yet\n" in said


def test_where_going_back_fails_too_the_one_that_was_served_is_named(apply, stand_in):
    apply(fraud(1))
    apply(fraud(2))
    stand_in.behave(lambda of: "blocked" if "predictor" in of["spec"] else "ready")
    said = apply(fraud(3), "--failing", 0, code=1).output
    assert said.endswith("it is left as it is: headrace manifests rollback fraud --to 2 brings that back\n")


def test_a_failed_release_stays_where_it_is_asked_to(apply, manifests, stand_in):
    apply(fraud(1))
    stand_in.behave(broken(2, "blocked"))
    said = apply(fraud(2), "--failing", 0, "--no-rollback-on-failure", code=1).output
    assert said.endswith("it is left as it is: headrace manifests rollback fraud --to 1 brings that back\n")
    assert "failing" in manifests("status", "fraud", code=1).output
    manifests("rollback", "fraud", "--settle", 0)
    assert stand_in.get("InferenceService", "fraud")["spec"] == fraud(1)[0]["spec"]


def test_a_former_set_that_does_not_get_ready_either(apply, stand_in):
    apply(fraud(1))
    stand_in.behave(lambda of: "blocked" if of["kind"] == "InferenceService" else "ready")
    said = apply(fraud(2), "--failing", 0, code=1).output
    assert "going back to revision 1 failed too: revision 3 of fraud did not get ready" in said


def test_a_rollout_is_not_taken_for_ready_by_the_status_of_the_former_one(apply, stand_in, cluster):
    apply(fraud(1))
    stand_in.behave(lambda of: "unseen")  # KServe is busy: its status still says that all is well
    said = apply(fraud(2), "--timeout", 0, "--no-rollback-on-failure", code=1).output
    assert "InferenceService fraud: predictor: KServe has not taken the new specification over yet\n" in said


def test_a_changed_service_must_stay_ready_for_a_while(apply, cluster, stand_in):
    apply(fraud(1))
    ticks = count()
    waited = []
    clock = Clock(now=lambda: float(next(ticks)), pause=waited.append)
    told: list[str] = []
    patience = Patience(timeout_s=100.0, settle_s=4.0, look_s=1)
    stand_in.rules.forbidden = {("list", "events")}  # so that it pauses in between
    Wait(cluster, [SERVICE], patience, told.append, changed=[SERVICE], clock=clock).run()
    assert told == ["InferenceService fraud: ready"]
    assert len(waited) >= 1


def test_events_that_may_not_be_read_and_versions_that_are_forgotten_end_no_wait(apply, stand_in):
    stand_in.rules.forgotten = True
    apply(fraud(1), "--settle", 0.5)
    stand_in.rules.forbidden = {("list", "events"), ("list", "pods"), ("list", "deployments")}
    stand_in.behave(broken(2, "blocked"))
    said = apply(fraud(2), "--failing", 0, "--no-rollback-on-failure", code=1).output
    assert "ModelLoadFailed" in said


def test_a_cluster_that_is_away_for_a_while_ends_no_wait(apply, stand_in, cluster):
    apply(fraud(1))
    told: list[str] = []

    def back(seconds: float) -> None:
        stand_in.rules.hung = set()

    stand_in.rules.hung = {("get", "inferenceservices"), ("list", "events")}
    cluster._to._timeout_s = 0.2
    Wait(cluster, [SERVICE], Patience(), told.append, clock=Clock(pause=back)).run()
    assert told[0].startswith("the cluster does not answer, asking again: ")
    assert told[-1] == "InferenceService fraud: ready"


def test_an_interrupted_release_says_so(apply, manifests, stand_in, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Wait, "run", interrupted)
    said = apply(fraud(1), code=1).output
    assert "interrupted: what was applied stays; headrace manifests rollback fraud goes back\n" in said
    assert "revision 1, apply, interrupted (interrupted before it was ready)" in manifests("status", "fraud").output


def test_what_was_deleted_meanwhile_is_missed(cluster):
    with pytest.raises(NotReady, match="InferenceService fraud: it is not there: was it deleted"):
        Wait(cluster, [SERVICE], Patience(timeout_s=0.0), lambda line: None).run()


def test_a_release_that_another_overtook_is_not_taken_back(apply, stand_in, cluster, monkeypatch):
    apply(fraud(1))

    def overtaken(self):
        Revisions(cluster, "fraud").begin(fraud(3), "apply", "now")
        raise NotReady("at all", {SERVICE: ["it is broken"]})

    monkeypatch.setattr(Wait, "run", overtaken)
    said = apply(fraud(2), code=1).output
    assert said.endswith("revision 3 was begun meanwhile: nothing more was done\n")
    assert stand_in.get("InferenceService", "fraud")["metadata"]["annotations"]["headrace.dev/model-version"] == "2"


def test_progress_and_events_are_told_as_they_come(apply, stand_in, cluster):
    stand_in.behave(lambda of: "unseen")
    apply(fraud(1), "--no-wait")
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        if len(told) == 1:
            stand_in.behave(lambda of: "ready")
            stand_in.on_loop(lambda: stand_in.controllers.again("inferenceservices", "fraud", "shop"))

    Wait(cluster, [SERVICE], Patience(look_s=30), tell).run()
    assert told == [
        "InferenceService fraud: it has no status yet: is KServe's controller running?",
        "event: InferenceService fraud: InferenceServiceReady: InferenceService [fraud] is Ready",
        "InferenceService fraud: ready",
    ]


def test_a_cluster_that_goes_away_while_it_is_applied_to(apply, stand_in, monkeypatch):
    apply(fraud(1))

    def away(self):
        stand_in.rules.hung = {("list", "configmaps"), ("patch", "configmaps")}
        raise NotReady("at all", {SERVICE: ["it is broken"]})

    monkeypatch.setattr(Wait, "run", away)
    said = apply(fraud(2), "--request-timeout", 0.3, code=1).output
    assert "Error: revision 2 of fraud did not get ready: not ready at all:" in said
    assert "going back to revision 1 failed too: https://127.0.0.1:" in said


def test_what_got_ready_first_is_looked_at_again_at_the_end(apply, stand_in, cluster):
    pipeline = Ref("apps/v1", "Deployment", "shop", "fraud-pipeline-payments")
    key = ("deployments", "shop", pipeline.name)
    stand_in.behave(lambda of: "unseen" if of["kind"] == "InferenceService" else "ready")
    apply(fraud(1), "--no-wait")
    healthy = stand_in.get("Deployment", pipeline.name)["status"]
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        if line == "Deployment fraud-pipeline-payments: ready" and told.count(line) == 1:
            stand_in.on_loop(lambda: stand_in.store.status(key, {**healthy, "availableReplicas": 0}))
            stand_in.behave(lambda of: "ready")
            stand_in.on_loop(lambda: stand_in.controllers.again("inferenceservices", "fraud", "shop"))
        if line.endswith("0 of 1 replicas are available"):
            stand_in.on_loop(lambda: stand_in.controllers.again("deployments", pipeline.name, "shop"))
            stand_in.on_loop(lambda: stand_in.controllers.event(stand_in.store.objects[key], "Normal", "Up", "it is"))

    Wait(cluster, [SERVICE, pipeline], Patience(look_s=30), tell).run()
    assert [line for line in told if "replicas" in line or ": ready" in line] == [
        "Deployment fraud-pipeline-payments: ready",
        "InferenceService fraud: ready",
        "Deployment fraud-pipeline-payments: 0 of 1 replicas are available",
        "Deployment fraud-pipeline-payments: ready",
    ]
