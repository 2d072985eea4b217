"""On-demand functions in a cluster: what `get_feature_vectors` computes row by row is what ours compute on arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from applications.fraud.app import APP
from headrace.hopsworks.apply import apply
from headrace.hopsworks.declared import TILES, Declared
from headrace.hopsworks.functions import request_parameter
from headrace.hopsworks.session import HopsworksError, HopsworksSettings, Session, connect
from tests.headrace.hopsworks.test_functions import NOW, same
from tests.hopsworks import StandIn

DECLARED = Declared.of(APP)
CARD = DECLARED.groups[0]
CARDS = 60
ASKED = ("amount", "latitude", "longitude", "datetime")


def stored(chance: np.random.Generator) -> list[dict[str, Any]]:
    """Return rows of cards 1 to CARDS, a value in six of them missing; card 0 has none."""
    rows = []
    for card in range(1, CARDS + 1):
        values: dict[str, Any] = {"cc_num": card, "datetime": int(NOW) - card * 1000, TILES: b"\x00"}
        for feature in CARD.features:
            if feature.type == "double":
                high = {"last_latitude": 90.0, "last_longitude": 180.0, "last_datetime": NOW}.get(feature.name, 50.0)
                values[feature.name] = None if chance.random() < 1 / 6 else float(chance.uniform(0, high))
        rows.append(values)
    return rows


def requested(chance: np.random.Generator) -> dict[str, Any]:
    """Return a request's columns; the newest event's time is in every stored row, so a taken one would show."""
    return {
        "amount": float(chance.exponential(50)),
        "latitude": None if chance.random() < 1 / 6 else float(chance.uniform(-90, 90)),
        "longitude": float(chance.uniform(-180, 180)),
        "datetime": NOW + float(chance.integers(0, 10**9)),
    }


def wanted(row: dict[str, Any], asked: dict[str, Any]) -> dict[str, float]:
    """Return what ours answer on arrays."""
    origin = {"request": asked, "card_activity": row}
    answers = {}
    for function in CARD.on_demand:
        given = [origin[source.partition(".")[0]].get(source.partition(".")[2]) for source in function.inputs]
        with np.errstate(all="ignore"):
            answers[function.name] = float(function(*(np.array([math.nan if v is None else v]) for v in given))[0])
    return answers


@pytest.fixture(scope="module")
def session(cluster: StandIn) -> Iterator[Session]:
    """A session with a cluster to which the application was applied."""
    settings = HopsworksSettings(cluster.host, cluster.project, cluster.api_key, cluster.port, cluster.ca_file)
    with connect(settings) as opened:
        apply(opened, DECLARED)
        yield opened


@pytest.fixture(scope="module")
def view(session: Session, cluster: StandIn) -> Any:
    """The view of readable columns, ready to be asked."""
    found = session.feature_store.get_feature_view(DECLARED.view.name, DECLARED.view.version)
    rest = {"host": cluster.host, "port": cluster.rdrs_port, "use_ssl": False}
    found.init_serving(init_sql_client=False, init_rest_client=True, config_rest_client=rest, reset_rest_client=True)
    return found


def test_vectors_of_the_sdk_hold_what_ours_compute(view, cluster):
    chance = np.random.default_rng(7)
    rows = stored(chance)
    cluster.put(CARD.name, CARD.version, rows)
    by_card = {row["cc_num"]: row for row in rows}
    cards = [0, *by_card]
    asked = [requested(chance) for _ in cards]
    vectors = view.get_feature_vectors(
        [{"card_activity_cc_num": card, "terminal_risk_terminal_id": 1} for card in cards],
        request_parameters=[{request_parameter(CARD, name): one[name] for name in ASKED} for one in asked],
        return_type="list",
        allow_missing=True,
    )
    assert len(vectors) == len(cards)
    columns = [feature.name for feature in view.features if not feature.label]
    for card, one, vector in zip(cards, asked, vectors, strict=True):
        got = dict(zip(columns, vector, strict=True))
        for name, value in wanted(by_card.get(card, {}), one).items():
            assert same(got[f"card_activity_{name}"], value), (card, name)


def test_one_vector_of_a_datetime_and_of_a_text_is_that_of_the_number(view, cluster):
    cluster.put(CARD.name, CARD.version, stored(np.random.default_rng(3)))
    one = requested(np.random.default_rng(5))
    moment = np.datetime64(int(one["datetime"]), "ms").item()
    answers = []
    for at in (one["datetime"], moment, moment.isoformat()):
        parameters = {request_parameter(CARD, name): one[name] for name in ASKED} | {"request_datetime": at}
        entry = {"card_activity_cc_num": 2, "terminal_risk_terminal_id": 1}
        answers.append(view.get_feature_vector(entry, request_parameters=parameters, allow_missing=True))
    assert answers[0] == answers[1] == answers[2]


def test_a_parameter_that_is_absent_is_asked_for_and_not_taken_from_the_row(view, cluster, session):
    cluster.put(CARD.name, CARD.version, stored(np.random.default_rng(3)))
    entry = {"card_activity_cc_num": 2, "terminal_risk_terminal_id": 1}
    asked = {"amount": 1.0, "latitude": 1.0, "longitude": 1.0, "datetime": NOW}
    with pytest.raises(HopsworksError, match="requires features 'card_activity_request_datetime'"), session.asking("s"):
        view.get_feature_vector(entry, request_parameters=asked, allow_missing=True)
