"""Applications are loaded by name, and what is wrong with one is said when it is declared."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil

import numpy as np
import pytest

import applications
from applications.fraud.app import APP
from headrace.application import Application, Output, as_predicted, load_application, named
from headrace.features.columns import Column
from headrace.features.streams import Stream
from headrace.features.view import FeatureView
from headrace.features.windows import Window, WindowedGroup

GROUP = WindowedGroup("clicks", 1, "visits", "user", "at", "cost", ("count",), (Window("1h", 3_600_000),), ("page",))
VISITS = Stream(
    "visits", (Column("user", "int64"), Column("at", "timestamp"), Column("cost"), Column("page")), time="at"
)
VIEW = FeatureView("v", 1, (Column("user", "int64"),), (GROUP,), ("clicks.cost_count_1h",))

NOT_IMPORTABLE = (
    "but no module 'nowhere' is on the import path, which the current folder may not be on: "
    "needs PYTHONPATH to name the folder that holds it, such as PYTHONPATH=. there"
)


def application(**changed) -> Application:
    """Return a small application, changed."""
    return Application(**{"name": "visits", "view": VIEW, "streams": (VISITS,), "outputs": (Output("p"),), **changed})


def test_an_application_is_loaded_by_its_short_name_or_by_module_and_attribute():
    assert load_application("fraud") is load_application("applications.fraud:APP") is APP


@pytest.mark.parametrize("package", [package.name for package in pkgutil.iter_modules(applications.__path__)])
def test_every_application_of_the_project_is_found_and_whole(package):
    app = load_application(package)
    assert app.name == package
    for what in ("data", "train", "baseline", "measure"):
        if getattr(app, what):
            assert callable(app.load(what))
    if app.label_stream:
        assert app.label in app.stream(app.label_stream).names
    for dropped in app.ablations.values():
        assert set(dropped) <= set(app.view.names)
        assert app.view.without(dropped).fingerprint != app.view.fingerprint


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("froud", "there is no application 'froud': looked for 'applications.froud:APP'"),
        ("nowhere:APP", f"there is no application 'nowhere:APP': looked for 'nowhere:APP', {NOT_IMPORTABLE}"),
        ("fraud.nowhere:APP", "looked for 'fraud.nowhere:APP', but no module 'fraud' is on the import path"),
        ("headrace.nowhere.app:APP", "no module 'headrace.nowhere' is on the import path"),
        ("applications.fraud:NOT", "module 'applications.fraud' has no 'NOT'"),
        ("applications.fraud:", "'applications.fraud:' is not a name to load, needs 'module:attribute'"),
        (":APP", "':APP' is not a name to load, needs 'module:attribute'"),
        (".fraud:APP", "'.fraud:APP' is not a name to load, needs 'module:attribute'"),
        ("", "there is no application ''"),
        ("../fraud", "there is no application '../fraud'"),
        ("json:dumps", "'json:dumps' is a function, needs an Application"),
    ],
)
def test_what_is_no_application_is_refused_by_name(name, message):
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        load_application(name)


def test_an_application_that_lacks_something_it_needs_shows_what(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    for needed in ("nothing_of_this_name", "need"):  # the second begins as the application's own name does
        (tmp_path / f"needy_of_{needed}.py").write_text(f"import {needed}\n")
        importlib.invalidate_caches()
        with pytest.raises(ModuleNotFoundError, match=needed):
            load_application(f"needy_of_{needed}:APP")


def test_a_group_must_find_its_columns_in_its_stream():
    narrow = dataclasses.replace(VISITS, columns=VISITS.columns[:2])
    with pytest.raises(ValueError, match=r"group 'clicks' reads cost, page, stream 'visits' has user, at"):
        application(streams=(narrow,))
    with pytest.raises(
        ValueError, match="application 'visits' has no topic 'visits', needs one of visit; did you mean"
    ):
        application(streams=(dataclasses.replace(VISITS, name="visit"),))


def test_a_group_must_find_its_key_in_every_event():
    lax = dataclasses.replace(
        VISITS, columns=(dataclasses.replace(VISITS.columns[0], required=False), *VISITS.columns[1:])
    )
    with pytest.raises(
        ValueError, match=r"group 'clicks' is keyed by user, needs it in every event of stream 'visits'"
    ):
        application(streams=(lax,))


def test_an_application_knows_its_streams_and_groups():
    app = application()
    assert app.stream("visits") is VISITS
    assert app.groups == app.groups_of("visits") == (GROUP,)
    assert app.groups_of("others") == ()
    with pytest.raises(ValueError, match=r"has no topic 'visit', needs one of visits; did you mean 'visits'\?"):
        app.stream("visit")


def test_what_an_application_does_not_name_cannot_be_loaded():
    with pytest.raises(ValueError, match="application 'visits' names no train, needs train='module:function'"):
        application().load("train")
    assert application(train="json:dumps").load("train")({}) == "{}"
    assert named("headrace.application:Application") is Application


def test_an_application_answers_with_what_was_predicted_unless_it_says_otherwise():
    predicted = {"p": np.array([0.5])}
    assert application().respond(predicted) is as_predicted(predicted) is predicted
