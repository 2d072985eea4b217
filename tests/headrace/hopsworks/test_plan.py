"""A plan says what differs, in words, and what cannot be changed under the version that is declared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from applications.fraud.app import APP
from headrace.features import OnDemand, Window
from headrace.hopsworks.declared import Declared, NotDeclarable
from headrace.hopsworks.plan import Change, compared
from headrace.hopsworks.plan_found import Found, found
from headrace.hopsworks.plan_shapes import Column, GroupShape, group_shape, mark_of, marked, view_shape
from headrace.hopsworks.session import HopsworksError, HopsworksSettings, Session

DECLARED = Declared.of(APP)
CARD = "card_activity_fg"


def everything(declared: Declared = DECLARED) -> Found:
    """Return a cluster that has what is declared."""
    groups = [group_shape(declared, group) for group in (*declared.events, *declared.groups)]
    views = [view_shape(declared, view) for view in (declared.view, declared.tiles_view)]
    return Found({(g.name, g.version): g for g in groups}, {(v.name, v.version): v for v in views}, {})


def having(name: str, **changed: object) -> Found:
    """Return a cluster in which one group or view is another than declared."""
    has = everything()
    for shapes in (has.groups, has.views):
        if (name, 1) in shapes:
            shapes[name, 1] = replace(shapes[name, 1], **changed)  # type: ignore[assignment, type-var]
    return has


def declared_with(**changed: object) -> Declared:
    """Return the application with another declaration of the card's group."""
    card = replace(APP.groups[0], **changed)
    return Declared.of(replace(APP, view=replace(APP.view, groups=(card, APP.groups[1]))))


def card(has: Found) -> GroupShape:
    """Return the card's group."""
    return has.groups[CARD, 1]


def conflict(has: Found, declared: Declared = DECLARED) -> str:
    """Return the only conflict."""
    (step,) = compared(declared, has).conflicts
    return str(step)


def test_an_empty_cluster_needs_everything_groups_first():
    plan = compared(DECLARED, Found({}, {}, {}))
    assert {step.change for step in plan.steps} == {Change.CREATE}
    assert [step.name for step in plan.to_do] == [
        "payments_fg", "labels_fg", "card_activity_fg", "terminal_risk_fg", "fraud_fv", "fraud_tiles_fv",
    ]  # fmt: skip
    assert str(plan.steps[2]) == "create feature group card_activity_fg version 1: 32 columns, 11 functions"


def test_a_cluster_that_has_it_all_needs_nothing():
    plan = compared(DECLARED, everything())
    assert {step.change for step in plan.steps} == {Change.NONE}
    assert (plan.to_do, plan.conflicts, plan.left_over) == ((), (), ())


def test_the_fingerprint_is_of_what_columns_do_not_show():
    shapes = {group_shape(DECLARED, DECLARED.groups[0]).description}
    windows = (*APP.groups[0].windows[:-1], Window("30d", 30 * 86_400_000, tile_ms=43_200_000))
    for changed in (declared_with(), declared_with(windows=windows), declared_with(missing=-2.0)):
        shapes.add(group_shape(changed, changed.groups[0]).description)
    assert len(shapes) == 2  # what stands for a missing value is the model's, not the record's
    assert all(mark_of(description)[0] == "fraud" for description in shapes)


def test_a_changed_parameter_under_the_same_version_is_a_new_group_version():
    windows = (*APP.groups[0].windows[:-1], Window("30d", 30 * 86_400_000, tile_ms=43_200_000))
    changed = declared_with(windows=windows)
    said = conflict(everything(), changed)
    assert "a changed parameter is a new group version, raise version=1 in its declaration" in said
    plan = compared(declared_with(windows=windows, version=2), everything())
    assert ("card_activity_fg", 2) in {(step.name, step.version) for step in plan.of(Change.CREATE)}
    assert [(step.name, step.version) for step in plan.left_over] == [("card_activity_fg", 1)]


def test_a_view_over_a_new_group_version_is_a_new_view_version():
    step = compared(declared_with(version=2), everything()).conflicts[0]
    assert str(step) == (
        "conflict feature view fraud_fv version 1: it joins labels_fg_1, card_activity_fg_1, terminal_risk_fg_1, needs "
        "labels_fg_1, card_activity_fg_2, terminal_risk_fg_1; "
        "a feature view cannot be changed, raise version=1 of the view"
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"online": False}, "it is not online-enabled, needs online_enabled=True"),
        ({"key": ("tid",)}, "its primary key is tid, needs cc_num"),
        ({"key": ()}, "its primary key is none, needs cc_num"),
        ({"event_time": ""}, "its event time is none, needs datetime"),
        ({"description": "Somebody's."}, "its description carries no fingerprint, so what its rows mean is not known"),
        (
            {"description": marked("", "other", "0" * 16)},
            "it was declared as 0000000000000000 by other, now ",
        ),
    ],
)
def test_a_group_of_another_shape_is_a_conflict(changed, message):
    assert message in conflict(having(CARD, **changed))


def test_a_column_of_another_type_or_without_room_is_a_conflict():
    columns = dict(card(everything()).columns)
    columns |= {"amount_mean_1h": Column("float"), "tiles": Column("binary", "varbinary(100)")}
    said = conflict(having(CARD, columns=columns))
    assert "column amount_mean_1h is float, needs double" in said
    assert f"column tiles is varbinary(100) online, needs varbinary({APP.groups[0].layout.size})" in said
    columns["tiles"] = Column("binary", "blob")
    assert "column tiles is blob online, needs varbinary(" in conflict(having(CARD, columns=columns))


def test_functions_that_a_group_lacks_are_one_conflict():
    functions = dict(card(everything()).functions)
    said = conflict(having(CARD, functions={}))
    assert f"1: it has no functions {', '.join(functions)}: a new function is a new version of the feature" in said
    del functions["hour_sin"]
    assert "1: it has no function hour_sin: a new function is" in conflict(having(CARD, functions=functions))


def test_a_function_that_was_changed_in_the_cluster_is_a_conflict():
    functions = dict(card(everything()).functions)
    tampered = replace(
        functions["hour_sin"], source=functions["hour_sin"].source.replace("return", "print(1)\n    return")
    )
    said = conflict(having(CARD, functions={**functions, "hour_sin": tampered}))
    assert "function hour_sin has another source than is declared, a changed function is a new group version" in said
    inputs = replace(functions["hour_sin"], inputs=("datetime",))
    said = conflict(having(CARD, functions={**functions, "hour_sin": inputs}))
    assert "function hour_sin reads datetime, needs request_datetime" in said


def test_a_source_that_is_only_written_otherwise_is_the_same():
    functions = {
        name: replace(function, source=f"# a comment\n{function.source}".replace("    ", "  "))
        for name, function in card(everything()).functions.items()
    }
    assert not compared(DECLARED, having(CARD, functions=functions)).conflicts


def test_a_changed_function_under_the_same_version_is_a_conflict():
    other = [
        replace(c, compute=abs_of) if isinstance(c, OnDemand) and c.name == "is_night" else c for c in APP.view.columns
    ]
    declared = Declared.of(replace(APP, view=replace(APP.view, columns=tuple(other))))
    said = conflict(everything(), declared)
    assert "function is_night has another source than is declared" in said


def abs_of(value: float) -> float:
    """Return something else."""
    return abs(value)


def test_new_columns_of_events_are_appended():
    has = everything()
    columns = {name: column for name, column in has.groups["payments_fg", 1].columns.items() if name != "category"}
    plan = compared(DECLARED, having("payments_fg", columns=columns, description="Ours since 2019."))
    (step,) = plan.to_do
    assert str(step) == "append feature group payments_fg version 1: category"
    assert step.columns == ("category",)


def test_what_others_wrote_of_events_and_added_to_them_stays():
    columns = {**everything().groups["payments_fg", 1].columns, "note": Column("string")}
    assert not compared(DECLARED, having("payments_fg", columns=columns, description="Ours since 2019.")).to_do
    (step,) = compared(DECLARED, having("payments_fg", description="")).to_do
    assert step.change is Change.DESCRIBE


def test_events_are_online_only_at_the_root_of_the_views_and_need_no_room_offline():
    shapes = [group_shape(DECLARED, group) for group in DECLARED.events]
    assert [(shape.name, shape.online) for shape in shapes] == [("payments_fg", False), ("labels_fg", True)]
    columns = {**shapes[0].columns, "tid": Column("string", "varchar(10)")}
    assert not compared(DECLARED, having("payments_fg", columns=columns)).conflicts


def test_a_root_without_an_id_has_no_key_and_is_refused():
    labels = replace(APP.streams[1], id="")
    declared = Declared.of(replace(APP, streams=(APP.streams[0], labels)))
    with pytest.raises(
        NotDeclarable, match="stream 'labels' has no id, labels_fg is the root of the views and needs one"
    ):
        compared(declared, everything())


def test_a_description_follows_the_declaration():
    said = marked("An older text.", *mark_of(card(everything()).description))
    (step,) = compared(DECLARED, having(CARD, description=said)).to_do
    assert (step.change, step.name) == (Change.DESCRIBE, CARD)
    (step,) = compared(DECLARED, having("fraud_fv", description="")).to_do
    assert (step.change, step.name) == (Change.DESCRIBE, "fraud_fv")


def test_a_group_that_another_application_declared_alike_is_shared_and_stays_theirs():
    _, fingerprint = mark_of(card(everything()).description)
    plan = compared(DECLARED, having(CARD, description=marked("Cards.", "abuse", fingerprint)))
    assert (plan.to_do, plan.conflicts, plan.left_over) == ((), (), ())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"columns": ("fraud_label", "x")}, "it lacks card_activity_datetime, card_activity_amount_count_10m"),
        ({"columns": (*view_shape(DECLARED, DECLARED.view).columns, "x")}, "it has x, which is not declared"),
        ({"columns": view_shape(DECLARED, DECLARED.view).columns[::-1]}, "its columns are in another order"),
        ({"labels": ()}, "its labels are none, needs fraud_label"),
    ],
)
def test_a_view_of_another_shape_is_a_conflict(changed, message):
    said = conflict(having("fraud_fv", **changed))
    assert message in said
    assert "a feature view cannot be changed, raise version=1 of the view" in said


def test_only_what_bears_this_applications_mark_is_left_over():
    has = everything()
    events = has.groups["payments_fg", 1]
    has.groups["payments_fg", 3] = replace(events, version=3)
    has.groups["old_fg", 1] = replace(events, name="old_fg", description=marked("", "fraud", "0" * 16))
    has.groups["their_fg", 1] = replace(events, name="their_fg", description=marked("", "other", "0" * 16))
    view = has.views["fraud_fv", 1]
    has.views["fraud_fv", 0] = replace(view, version=0)
    plan = compared(DECLARED, has)
    assert [(step.kind, step.name, step.version) for step in plan.left_over] == [
        ("feature view", "fraud_fv", 0),
        ("feature group", "old_fg", 1),
    ]
    assert plan.to_do == ()


class Broken:
    """A feature store of which the SDK cannot read a group, as of HUDI tables that were made without it."""

    def get_feature_groups(self, name: str = "") -> list[object]:
        """Raise what the SDK raises: of a list with other kinds of groups, and of one group."""
        raise IndexError("list index out of range") if name else TypeError("unexpected keyword argument")


def test_a_group_that_the_sdk_cannot_read_is_said():
    session = Session(HopsworksSettings("h", "p", "k"), None, Broken(), Path(), own=False)
    with pytest.raises(HopsworksError, match="card_activity_fg is HUDI without a precombine key, the SDK needs one"):
        found(session, DECLARED)
