"""Applying makes a cluster have what is declared, twice changes nothing, and what fails says where it stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from applications.fraud.app import APP as FRAUD
from headrace.features import Column, Window
from headrace.hopsworks.apply import apply
from headrace.hopsworks.declared import TILES, Declared
from headrace.hopsworks.functions import functions_of
from headrace.hopsworks.plan import Change, plan
from headrace.hopsworks.session import HopsworksError, Session, connect
from tests.hopsworks import StandIn

CARD = replace(FRAUD.groups[0], stats=("count", "mean"), windows=FRAUD.groups[0].windows[1:3])
TERMINAL = replace(FRAUD.groups[1], windows=FRAUD.groups[1].windows[:1])
FUNCTIONS = tuple(f for f in FRAUD.view.columns if getattr(f, "name", "") in ("hour_sin", "seconds_since_last"))
#: The fraud application with few columns: what the SDK reads of a cluster takes it long where they are many.
APP = replace(
    FRAUD,
    view=replace(
        FRAUD.view, groups=(CARD, TERMINAL), columns=("request.amount", "card_activity.amount_mean_1h", *FUNCTIONS)
    ),
)
DECLARED = Declared.of(APP)
ALL = ["payments_fg", "labels_fg", "card_activity_fg", "terminal_risk_fg", "fraud_fv", "fraud_tiles_fv"]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[StandIn]:
    """A cluster of a test's own, without Kafka: what one applies, no other sees."""
    with StandIn.started(tmp_path / "cluster", kafka=False) as running:
        yield running


WINDOWS = (*APP.groups[0].windows[:-1], Window("24h", 86_400_000, tile_ms=3_600_000))


def changes(cluster: StandIn) -> list[str]:
    """Return what was asked of the cluster but reads, since the log was emptied."""
    return [f"{method} {path.rpartition('/')[2]}" for method, path in cluster.requests if method != "GET"]


def with_group(**changed: Any) -> Declared:
    """Return the application with another declaration of the card's group."""
    card = replace(APP.groups[0], **changed)
    return Declared.of(replace(APP, view=replace(APP.view, groups=(card, APP.groups[1]))))


def test_applied_once_it_is_there_and_twice_changes_nothing(session: Session, cluster: StandIn, capsys):
    told: list[Any] = []
    apply(session, DECLARED, tell=told.append)
    assert [step.name for step in told] == ALL
    assert len(changes(cluster)) == len(ALL)
    cluster.forget_requests()
    assert apply(session, DECLARED).to_do == ()
    assert changes(cluster) == []
    assert cluster.unknown == []
    assert capsys.readouterr().out == ""

    group = cluster.feature_group("card_activity_fg", 1)
    stored = {feature["name"]: feature for feature in group["features"] if not feature["onDemand"]}
    assert list(stored) == [feature.name for feature in DECLARED.groups[0].features]
    assert (stored["cc_num"]["type"], stored["cc_num"]["primary"]) == ("bigint", True)
    assert stored[TILES]["onlineType"] == f"varbinary({APP.groups[0].layout.size})"
    assert (group["type"], group["timeTravelFormat"], group["eventTime"]) == (
        "streamFeatureGroupDTO",
        "HUDI",
        "datetime",
    )
    assert group["onlineEnabled"]
    udfs = {udf["name"]: udf["sourceCode"] for udf in (f["hopsworksUdf"] for f in group["transformationFunctions"])}
    assert udfs == {function.name: function.source for function in functions_of(DECLARED.groups[0])}
    assert not cluster.feature_group("payments_fg", 1)["onlineEnabled"]

    view = cluster.feature_view("fraud_tiles_fv", 1)
    assert [feature["name"] for feature in view["features"]] == [
        "fraud_label", "card_activity_tiles", "terminal_risk_tiles",
    ]  # fmt: skip
    assert [(key["prefix"], key["featureName"]) for key in view["servingKeys"]] == [
        ("card_activity_", "cc_num"), ("terminal_risk_", "terminal_id"),
    ]  # fmt: skip


def test_a_column_is_appended_and_a_description_follows(session, cluster):
    apply(session, DECLARED)
    payments = replace(APP.streams[0], columns=(*APP.streams[0].columns, Column("country", "string", required=False)))
    card = replace(APP.groups[0], meaning="How the card is used.")
    app = replace(APP, streams=(payments, APP.streams[1]), view=replace(APP.view, groups=(card, APP.groups[1])))
    steps = apply(session, Declared.of(app)).to_do
    assert [(step.change, step.name) for step in steps] == [
        (Change.APPEND, "payments_fg"), (Change.DESCRIBE, "card_activity_fg"),
    ]  # fmt: skip
    assert [f["name"] for f in cluster.feature_group("payments_fg", 1)["features"]][-1] == "country"
    assert cluster.feature_group("card_activity_fg", 1)["description"].startswith("How the card is used. [headrace")
    assert apply(session, Declared.of(app)).to_do == ()


def test_a_conflict_stops_everything_before_anything_is_done(session, cluster):
    apply(session, DECLARED)
    cluster.forget_requests()
    with pytest.raises(HopsworksError) as refused:
        apply(session, with_group(windows=WINDOWS))
    said = str(refused.value)
    assert said.startswith(
        "nothing was changed, needs these conflicts to be settled first:\n  conflict feature group card_activity_fg"
    )
    assert "a changed parameter is a new group version" in said
    assert changes(cluster) == []


def test_a_new_version_leaves_the_old_one_until_it_is_pruned(session, cluster):
    apply(session, DECLARED)
    card = replace(APP.groups[0], version=2)
    declared = Declared.of(replace(APP, view=replace(APP.view, version=2, groups=(card, APP.groups[1]))))
    left = [("fraud_fv", 1), ("fraud_tiles_fv", 1), ("card_activity_fg", 1)]
    assert [(step.name, step.version) for step in apply(session, declared).left_over] == left
    assert cluster.feature_group("card_activity_fg", 1)
    cluster.forget_requests()
    apply(session, declared, prune=True)
    assert [change.partition(" ")[0] for change in changes(cluster)] == ["DELETE"] * 3
    assert plan(session, declared).left_over == ()
    assert cluster.feature_group("payments_fg", 1)
    assert cluster.feature_group("card_activity_fg", 2)


def test_pruning_does_not_take_a_group_that_another_view_reads(session, cluster):
    apply(session, DECLARED)
    store = session.feature_store
    theirs = store.get_feature_group("card_activity_fg", 1).select(["amount_count_1h"])
    store.create_feature_view(name="their_fv", version=1, query=theirs)
    card = replace(APP.groups[0], version=2)
    declared = Declared.of(replace(APP, view=replace(APP.view, version=2, groups=(card, APP.groups[1]))))
    with pytest.raises(HopsworksError) as refused:
        apply(session, declared, prune=True)
    said = str(refused.value)
    assert "The feature group is used by feature views" in said or "their_fv" in said
    assert said.endswith("not done: card_activity_fg (left over); apply again to go on")
    assert cluster.feature_group("card_activity_fg", 1)


def test_a_failure_half_way_says_what_was_done_and_applying_again_goes_on(session, cluster):
    cluster.faults.set("control", status=503, path="featureview")
    with pytest.raises(HopsworksError, match=r"cannot read feature view fraud_fv: .* answers HTTP 503"):
        apply(session, DECLARED)
    assert changes(cluster) == []
    cluster.faults.clear()

    taken: list[Any] = []

    def tell(step: Any) -> None:
        taken.append(step.name)
        if step.name == "labels_fg":
            cluster.faults.set("control", status=503, path="featuregroups")

    with pytest.raises(HopsworksError) as failed:
        apply(session, DECLARED, tell=tell)
    said = str(failed.value)
    assert said.startswith(f"cannot create feature group card_activity_fg: {session.settings.where} answers HTTP 503")
    assert "done before it: payments_fg (create), labels_fg (create); not done: card_activity_fg (create), " in said
    assert said.endswith("apply again to go on")
    cluster.faults.clear()
    assert [step.name for step in apply(session, DECLARED).to_do] == ALL[2:]
    assert plan(session, DECLARED).to_do == ()


def test_a_view_whose_group_is_gone_is_said_to_be_broken(session, cluster):
    apply(session, DECLARED)
    session.feature_store.get_feature_group("terminal_risk_fg", 1).delete(force=True)
    for ask in (plan, apply):
        with pytest.raises(
            HopsworksError, match="feature view fraud_fv is broken, a feature group that it joins is gone"
        ):
            ask(session, DECLARED)


def test_a_cluster_that_stalls_or_forbids_half_way_ends_it_in_time(settings, cluster):
    with connect(replace(settings, timeout_s=1.0)) as session:
        plan(session, DECLARED)
        for fault, message in (
            ({"delay_ms": 60_000}, "cannot read its feature groups: .* gave no answer in time"),
            (
                {"status": 403},
                r"the key may not read its feature groups at .* \(HTTP 403\): .*; it needs the scopes PROJECT",
            ),
            ({"drop": "connection"}, r"cannot read its feature groups: .* cannot be reached \(connection closed\)"),
        ):
            cluster.faults.set("control", **fault)
            with pytest.raises(HopsworksError, match=message):
                apply(session, DECLARED)
            cluster.faults.clear()
        apply(session, DECLARED)


def test_a_group_of_somebody_elses_under_our_name_is_not_touched(session, cluster):
    theirs = session.feature_store.create_feature_group(
        name="card_activity_fg", version=1, description="Theirs.", primary_key=["cc_num"], event_time="datetime",
        online_enabled=False, stream=True, time_travel_format="HUDI", hudi_precombine_key="datetime",
        features=_their_features(),
    )  # fmt: skip
    theirs.save()
    (step,) = plan(session, DECLARED).conflicts
    assert "it is not online-enabled, needs online_enabled=True" in step.why
    assert "column cc_num is string, needs bigint" in step.why
    assert "its description carries no fingerprint" in step.why
    with pytest.raises(HopsworksError, match="nothing was changed, needs these conflicts"):
        apply(session, DECLARED)
    assert cluster.feature_group("card_activity_fg", 1)["description"] == "Theirs."


def _their_features() -> list[Any]:
    import hopsworks

    Feature = hopsworks.hsfs.feature.Feature  # noqa: N806
    return [Feature("cc_num", "string"), Feature("datetime", "timestamp"), Feature("n", "bigint")]
