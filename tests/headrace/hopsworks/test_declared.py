"""What an application is in Hopsworks follows from its declaration, or is refused with the reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from applications.fraud.app import APP
from headrace.features import Window, WindowedGroup
from headrace.hopsworks.declared import TILES, Declared, NotDeclarable


def test_a_group_is_its_key_its_time_its_statistics_and_its_tiles():
    card, terminal = Declared.of(APP).groups
    of = APP.groups[0]
    assert (card.name, card.version, card.primary_key, card.event_time) == (
        "card_activity_fg",
        1,
        ("cc_num",),
        "datetime",
    )
    assert [f.name for f in card.features] == ["cc_num", "datetime", *of.column_names, TILES]
    assert card.features[-1].online_type == f"varbinary({of.layout.size})"
    assert len(card.on_demand) == 11
    assert terminal.on_demand == ()


def test_both_views_begin_with_the_labels_and_join_each_group_by_its_key():
    declared = Declared.of(APP)
    assert (declared.view.name, declared.tiles_view.name) == ("fraud_fv", "fraud_tiles_fv")
    assert [join.group.name for join in declared.view.joins] == ["labels_fg", "card_activity_fg", "terminal_risk_fg"]
    assert [join.columns for join in declared.tiles_view.joins[1:]] == [(TILES,), (TILES,)]
    assert declared.view.labels == ("fraud_label",)


def test_a_key_of_text_is_text():
    columns = [replace(c, dtype="string") if c.name == "cc_num" else c for c in APP.streams[0].columns]
    stream = replace(APP.streams[0], columns=tuple(columns))
    app = replace(APP, streams=(stream, *APP.streams[1:]))
    key = Declared.of(app).groups[0].features[0]
    assert (key.type, key.online_type, key.primary) == ("string", "varchar(200)", True)


def test_a_name_that_hopsworks_does_not_take_is_refused():
    with pytest.raises(NotDeclarable, match="'Fraud_fv' cannot be a name in Hopsworks, needs lower-case"):
        Declared.of(replace(APP, name="Fraud"))


def test_a_record_longer_than_a_row_is_refused():
    windows = (Window("1d", 86_400_000, tile_ms=1_000_000),)
    wide = WindowedGroup("wide", 1, "payments", "cc_num", "datetime", "amount", ("p50", "distinct"), windows)
    view = replace(APP.view, groups=(*APP.view.groups, wide))
    with pytest.raises(NotDeclarable, match="a record of group 'wide' takes 69,008 bytes"):
        Declared.of(replace(APP, view=view))


def test_a_root_without_a_groups_key_is_refused():
    labels = replace(APP.streams[1], columns=tuple(c for c in APP.streams[1].columns if c.name != "cc_num"))
    with pytest.raises(NotDeclarable, match="the events of labels_fg lack cc_num"):
        Declared.of(replace(APP, streams=(APP.streams[0], labels)))
