"""A view refuses what cannot be served, and its fingerprint sees every change of meaning."""

import dataclasses

import numpy as np
import pytest

from applications.fraud.features import FRAUD_VIEW
from headrace.features import Column, FeatureView, OnDemand, Window, WindowedGroup

GROUP = WindowedGroup(
    "activity", 1, "payments", "card", "at", "amount", ("count", "mean"), (Window("1h", 3600),), ("lat",)
)
KEY = Column("card", "int64")
AT = Column("at", "timestamp")
AMOUNT = Column("amount", missing=-1.0, unit="EUR", meaning="What is paid.")


def plus(x, y):
    return x + y


def minus(x, y):
    return x - y


BOTH = OnDemand("both", plus, ("request.amount", "activity.amount_mean_1h"), missing=-1.0)


def view(columns=("request.amount", "activity.amount_count_1h", BOTH), request=(KEY, AT, AMOUNT), group=GROUP, **more):
    """Return a small view, changed in one place."""
    return FeatureView(
        more.pop("name", "v"), more.pop("version", 1), request, (group,), columns, **{"time": "at", **more}
    )


def with_group(**changes):
    """Return the view over a changed group."""
    return view(group=dataclasses.replace(GROUP, **changes))


def with_feature(**changes):
    """Return the view with a changed on-demand feature."""
    declared = {name: getattr(BOTH, name) for name in ("name", "compute", "inputs", "unit", "missing", "meaning")}
    return view(("request.amount", "activity.amount_count_1h", OnDemand(**{**declared, **changes})))


def with_amount(**changes):
    """Return the view with a changed request column."""
    return view(request=(KEY, AT, dataclasses.replace(AMOUNT, **changes)))


CHANGED = {
    "order": view(("activity.amount_count_1h", "request.amount", BOTH)),
    "a column less": view(("request.amount", BOTH)),
    "another column": view(("request.amount", "activity.amount_mean_1h", BOTH)),
    "missing value": with_amount(missing=-2.0),
    "dtype": with_amount(dtype="int64"),
    "range": with_amount(high=100.0),
    "group version": with_group(version=2),
    "group key": view(request=(KEY, AT, AMOUNT, Column("user", "int64")), group=dataclasses.replace(GROUP, key="user")),
    "stream": with_group(stream="refunds"),
    "window length": with_group(windows=(Window("1h", 7200),)),
    "window tile": with_group(windows=(Window("1h", 3600, tile_ms=100),)),
    "window delay": with_group(windows=(Window("1h", 3600, delay_ms=60),)),
    "function source": with_feature(compute=minus),
    "function inputs": with_feature(inputs=("activity.amount_mean_1h", "request.amount")),
    "function missing value": with_feature(missing=0.0),
    "function name": with_feature(name="sum"),
}

UNCHANGED = {
    "meaning": with_amount(meaning="Something else."),
    "name of the view": view(name="w"),
    "a request column the model never reads": view(request=(KEY, AT, AMOUNT, Column("note", "string", required=False))),
}


@pytest.mark.parametrize("what", CHANGED)
def test_a_changed_meaning_changes_the_fingerprint(what):
    assert CHANGED[what].fingerprint != view().fingerprint


def test_every_change_has_a_fingerprint_of_its_own():
    assert len({changed.fingerprint for changed in CHANGED.values()}) == len(CHANGED)


@pytest.mark.parametrize("what", UNCHANGED)
def test_what_a_model_cannot_notice_does_not_change_it(what):
    assert UNCHANGED[what].fingerprint == view().fingerprint


def test_a_fingerprint_is_64_hex_digits():
    assert len(view().fingerprint) == 64
    assert int(view().fingerprint, 16)


def test_names_are_in_the_order_of_the_columns_and_counts_miss_as_zero():
    assert view().names == ("amount", "amount_count_1h", "both")
    np.testing.assert_array_equal(view().missing, np.array([-1, 0, -1], dtype=np.float32))
    assert view().describe()[0] == {
        "name": "amount",
        "dtype": "float32",
        "unit": "EUR",
        "missing": -1.0,
        "source": "request.amount",
        "meaning": "What is paid.",
    }


def test_a_view_less_a_column_is_another_view():
    less = FRAUD_VIEW.without(["is_night"])
    assert [name for name in FRAUD_VIEW.names if name not in less.names] == ["is_night"]
    assert less.fingerprint != FRAUD_VIEW.fingerprint


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (lambda: view(("request.ammount",)), r"view 'v' reads 'request.ammount', needs one of card, at, amount$"),
        (lambda: view(("activity.amount_max_1h",)), r"reads 'activity.amount_max_1h', needs one of amount_count_1h"),
        (lambda: view(("risk.amount",)), r"view 'v' has no group 'risk', it has activity"),
        (lambda: view(("request.amount", "request.amount")), r"names amount twice, needs every column once"),
        (
            lambda: view(("request.n",), (KEY, AT, Column("n", "string"))),
            r"reads 'request.n', a string: a model's column",
        ),
        (lambda: view((OnDemand("f", plus, ("request.a", "request.amount")),)), r"reads 'request.a', needs one of"),
        (lambda: OnDemand("f", plus, ("amount",)), r"feature 'f' has input 'amount', needs 'request.column' or 'group"),
        (lambda: view(request=(AT, AMOUNT)), r"group 'activity' keyed by 'card', needs a request column of that name"),
        (lambda: view(("request.at",), (KEY, AMOUNT)), r"reads 'request.at', needs one of card, amount"),
        (lambda: view(request=(KEY, Column("at"), AMOUNT)), r"time column 'at' of dtype 'float64', needs 'timestamp'"),
        (
            lambda: view(time="att"),
            r"view 'v' has time column 'att', which no request carries, needs 'at', or '' where the server's clock",
        ),
        (lambda: Column("amount", low="a"), r"column 'amount' has low 'a', needs a number$"),
        (lambda: Column("amount", "decimal"), r"column 'amount' has dtype 'decimal', needs one of bool, float64"),
    ],
)
def test_a_declaration_that_cannot_be_served_says_why(declared, message):
    with pytest.raises(ValueError, match=message):
        declared()
