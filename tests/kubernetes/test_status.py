"""`status`: what is shown of a set, and what is honestly not known."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from headrace.features.columns import Column
from headrace.features.streams import Stream
from headrace.manifests.freshness import newest_events
from headrace.manifests.status import statuses
from headrace.telemetry.pipelines import PipelineMetrics
from tests.kubernetes.sets import VIEWS, fraud

METRICS = 'headrace_pipeline_newest_event_timestamp_seconds{{stream="payments"}} {at}\n'


@pytest.fixture
def telling(stand_in):
    """The pipeline's pod tells its newest event, five hours ago."""
    stand_in.rules.metrics["fraud-pipeline-payments-0:9100"] = METRICS.format(at=time.time() - 5 * 3600)
    return stand_in


def test_a_set_that_is_well(apply, manifests, telling):
    apply(fraud())
    said = manifests("status", "fraud").output
    title, heading, *rows = (line.split() for line in said.strip().splitlines())
    assert " ".join(title).startswith(
        f"fraud in stand-in ({telling.url}), namespace shop: revision 1, apply, ready, begun"
    )
    assert heading == ["component", "replicas", "ready", "canary", "view", "model", "freshness"]
    assert rows == [
        ["fraud-pipeline-payments", "1/1", "yes", "-", "-", "-", "5", "h"],
        ["fraud", "predictor", "1/1", "yes", "-", "11aa11aa11aa", "1", "-"],
        ["fraud", "transformer", "2/2", "yes", "-", "11aa11aa11aa", "1", "-"],
    ]
    assert manifests("status").output == said


def test_a_set_as_data(apply, manifests, telling):
    apply(fraud())
    (told,) = json.loads(manifests("status", "--json").output)
    assert told["set"] == "fraud"
    assert told["revision"]["outcome"] == "ready"
    assert [row["component"] for row in told["components"]][1:] == ["fraud predictor", "fraud transformer"]
    assert told["components"][0]["freshness"]["age_s"] == pytest.approx(5 * 3600, abs=60)
    assert told["components"][1]["fingerprint"] == VIEWS[1]
    assert "--json prints once" in manifests("status", "--json", "--watch", code=2).output


def test_freshness_that_cannot_be_read_is_not_guessed(apply, manifests, stand_in):
    apply(fraud())
    said = manifests("status", "fraud").output
    assert "fraud-pipeline-payments-0 does not answer at its port 9100 through the API server" in said
    stand_in.rules.forbidden = {("get", "pods/proxy")}
    assert "freshness needs the right to get pods/proxy" in manifests("status", "fraud").output
    stand_in.rules.forbidden = set()
    stand_in.rules.metrics["fraud-pipeline-payments-0:9100"] = "other 1\n"
    assert "fraud-pipeline-payments: no event yet" in manifests("status", "fraud").output


def test_what_does_not_get_ready_is_told_with_its_reason(apply, manifests, stand_in):
    stand_in.behave(lambda of: "crash" if "predictor" in of["spec"] else "ready")
    apply(fraud(), "--failing", 0, code=1)
    said = manifests("status", "fraud", code=1).output
    assert "fraud predictor: pod fraud-predictor-0, container kserve-container: CrashLoopBackOff" in said
    row = next(line.split() for line in said.splitlines() if line.startswith("fraud transformer"))
    assert row[2:4] == ["2/2", "yes"]


def test_views_that_differ_are_told(apply, manifests, stand_in):
    mixed = fraud(1)
    mixed[0]["spec"]["transformer"]["annotations"] = {"headrace.dev/fingerprint": VIEWS[2]}
    apply(mixed)
    said = manifests("status", "fraud").output
    assert "the components are of different views: fraud predictor 11aa11aa11aa, fraud transformer 22bb22bb22bb" in said


def test_canaries_are_shown_with_their_share(apply, manifests, stand_in):
    both = fraud(1)
    both[0]["spec"]["canary"] = [
        {"trafficPercent": 10, "predictor": {"name": "v2", "annotations": {"headrace.dev/model-version": "2"}}}
    ]
    apply(both)
    rows = [line.split() for line in manifests("status", "fraud").output.splitlines()]
    assert ["fraud", "canary", "v2", "1/1", "yes", "10", "%", "11aa11aa11aa", "2", "-"] in rows


def test_a_canary_on_knative_is_shown_with_what_it_really_gets(cluster, stand_in, apply):
    service = fraud(1)[0]
    service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] = "Knative"
    service["spec"]["predictor"]["canaryTrafficPercent"] = 20
    del service["spec"]["transformer"]
    apply([service])
    (row,) = statuses(cluster, "fraud", 0.0)[0].rows
    assert (row.canary, row.ready, row.wanted) == ("20 %", 1, None)

    def rolling(of):
        traffic = [{"percent": 95, "revisionName": "a"}, {"percent": 5, "latestRevision": True}]
        revisions = {"latestCreatedRevision": "fraud-2", "latestReadyRevision": "fraud-1", "traffic": traffic}
        of["status"]["components"] = {"predictor": revisions}

    stand_in.edit("InferenceService", "fraud", rolling)
    (row,) = statuses(cluster, "fraud", 0.0)[0].rows
    assert row.canary == "5 %, 20 % asked for"
    assert row.said == "the revision fraud-2 is not ready, fraud-1 serves"


def test_a_set_that_was_applied_by_other_means(apply, manifests, stand_in):
    apply(fraud())
    stand_in.on_loop(lambda: stand_in.store.delete(("configmaps", "shop", "headrace-revision-fraud-1")))
    said = manifests("status", "fraud").output
    assert "no revision, it was applied by other means" in said
    assert "fraud transformer" in said
    assert "fraud-predictor " not in said  # KServe's own Deployment is a part, not a component


def test_there_is_no_such_set(manifests):
    assert "there is no set 'x' in stand-in (" in manifests("status", "x", code=1).output
    assert "there is no set in stand-in (" in manifests("status", code=1).output


def test_it_is_shown_again_until_interrupted(apply, manifests, stand_in, monkeypatch):
    apply(fraud())
    looks = iter(({("list", "configmaps")}, set(), None))

    def looking(seconds):
        hung = next(looks)
        if hung is None:
            raise KeyboardInterrupt
        stand_in.rules.hung = hung

    monkeypatch.setattr(time, "sleep", looking)
    said = manifests("status", "--watch", "--request-timeout", 0.5).output
    assert "fraud transformer" in said


def test_what_was_deleted_by_hand_is_missed(apply, manifests, stand_in):
    apply(fraud())
    stand_in.on_loop(lambda: stand_in.store.delete(("inferenceservices", "shop", "fraud")))
    assert "fraud: it is not there: was it deleted?" in manifests("status", "fraud", code=1).output


def test_what_a_pipeline_really_tells_is_understood():
    stream = Stream("payments", (Column("at", "timestamp"),), time="at")
    metrics = PipelineMetrics(stream, ())
    assert newest_events(metrics.text().decode()) == []
    metrics.observe(np.array([1_000, 1_500]), now_ms=2_000, events=2)
    assert newest_events(metrics.text().decode()) == [1.5]
