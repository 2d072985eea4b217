"""What a reader finds out about a view from the SDK's objects, and the views that it refuses."""

from __future__ import annotations

import copy
import dataclasses
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from applications.fraud.app import APP
from headrace.hopsworks.apply import apply
from headrace.hopsworks.declared import Declared
from headrace.hopsworks.opening import StoreURL, open_hopsworks
from headrace.hopsworks.serving import NotServable, address, found_view, tiles_view
from headrace.hopsworks.session import HopsworksSettings, Session, connect
from headrace.hopsworks.session_faults import HopsworksError
from headrace.stores.late import LateStore
from headrace.stores.rondb.client import Address
from tests.headrace.hopsworks.filled import environment
from tests.hopsworks import StandIn

DECLARED = Declared.of(APP)
CARDS, TERMINALS = APP.groups
REMEDY = "run headrace hopsworks apply fraud"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """A cluster that knows nothing of the application at first."""
    with StandIn.started(tmp_path_factory.mktemp("cluster"), kafka=False) as made:
        yield made


@pytest.fixture(scope="module")
def absent(cluster: StandIn) -> tuple[str, str]:
    """What is said before the application was applied, by the session and by the store of a transformer."""
    with connect(HopsworksSettings.of(environment(cluster))) as session, pytest.raises(NotServable) as refused:
        found_view(session, DECLARED)
    store = open_hopsworks("hopsworks://", APP, environment(cluster))
    said = opened_readiness(store)
    store.close()
    return str(refused.value), said


@pytest.fixture(scope="module")
def session(cluster: StandIn, absent: tuple[str, str]) -> Iterator[Session]:
    """A session with the cluster, in which the application was applied."""
    with connect(HopsworksSettings.of(environment(cluster))) as opened:
        apply(opened, DECLARED)
        yield opened


@pytest.fixture
def view(session: Session) -> Any:
    """The SDK's own view of the tiles, to be changed at will."""
    return found_view(session, DECLARED)


def opened_readiness(store: LateStore) -> str:
    """Return what a store says when its opening has ended."""
    store.readiness(APP.groups)
    store.wait()
    return str(store.readiness(APP.groups))


def test_a_view_that_is_absent_is_named_with_what_to_do(absent):
    assert absent == (f"view fraud_tiles_fv version 1 is absent: {REMEDY}",) * 2


def test_positions_and_keys_are_the_cluster_s(view):
    found = tiles_view(view, "headrace_featurestore", DECLARED)
    assert (found.feature_store, found.name, found.version, found.width) == ("headrace", "fraud_tiles_fv", 1, 2)
    assert [(c.group, c.position, c.serving_key, c.textual) for c in found.columns] == [
        (CARDS, 0, "card_activity_cc_num", False),
        (TERMINALS, 1, "terminal_risk_terminal_id", False),
    ]


def test_another_order_and_further_columns_are_read_where_they_stand(view):
    label, cards, terminals = view.features
    helper = copy.copy(cards)
    helper._feature_group_feature_name, helper.inference_helper_column = "amount_count_1h", True
    view.schema = [terminals, label, helper, cards]
    assert [column.position for column in tiles_view(view, "s", DECLARED).columns] == [2, 0]
    vectors = tiles_view(view, "s", DECLARED, of_vectors=True)
    assert ([column.position for column in vectors.columns], vectors.width) == ([1, 0], 2)


def only_labels(view: Any) -> None:
    """Leave nothing but the label."""
    view.schema = view.features[:1]


def without_terminals(view: Any) -> None:
    """Leave a group out."""
    view.schema = view.features[:2]


def as_text(view: Any) -> None:
    """Make the tiles a string."""
    view.features[1]._type = "string"


def offline(view: Any) -> None:
    """Make a group offline alone."""
    view.features[2].feature_group.online_enabled = False


def other_key(view: Any) -> None:
    """Read the cards by another key."""
    view.serving_keys[0]._feature_name = "card"


def keyless(view: Any) -> None:
    """Have no key for the cards."""
    view.serving_keys = view.serving_keys[1:]


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (only_labels, "it has only labels, needs the tiles of card_activity_fg, terminal_risk_fg"),
        (without_terminals, "it has card_activity_tiles, needs tiles of terminal_risk_fg version 1"),
        (as_text, "its column card_activity_tiles is string, needs binary"),
        (offline, "feature group terminal_risk_fg is not online-enabled, needs it to be"),
        (other_key, "card_activity_fg is read by card, needs cc_num"),
        (keyless, "card_activity_fg is read by nothing, needs cc_num"),
    ],
)
def test_a_view_of_another_shape_is_refused_with_what_differs(view, change: Callable[[Any], None], how):
    change(view)
    with pytest.raises(NotServable) as refused:
        tiles_view(view, "s", DECLARED)
    assert str(refused.value) == f"view fraud_tiles_fv version 1 is of another shape: {how}; {REMEDY}"


def test_the_server_is_where_the_cluster_says_unless_said_otherwise(session, cluster):
    where = address(session)
    assert (where.host, where.port) == (cluster.host, 4406)
    assert where.tls.get_ca_certs()
    assert address(session, "10.0.0.7", 80, tls=False) == Address("10.0.0.7", 80)


def test_authorities_that_cannot_be_read_are_named(session, tmp_path, monkeypatch):
    (tmp_path / "trust.jks").write_bytes(b"\xfe\xed\xfe\xed")
    own = dataclasses.replace(session.settings, ca_file=str(tmp_path / "trust.jks"))
    monkeypatch.setattr(session, "settings", own)
    with pytest.raises(HopsworksError, match=r"RonDB's certificate, of .*trust.jks, cannot be read .*needs PEM files"):
        address(session, "10.0.0.7")


def test_a_store_is_ready_when_the_cluster_has_the_view_and_its_server_answers(session, cluster):
    store = open_hopsworks(f"hopsworks-sdk://{cluster.host}:{cluster.rdrs_port}?tls=false", APP, environment(cluster))
    frozen = gc.get_freeze_count()
    said = opened_readiness(store)
    store.close()
    assert said == "None"
    assert gc.get_freeze_count() > frozen


def test_a_rondb_that_is_away_is_not_taken_for_the_cluster(session, cluster, monkeypatch):
    from hopsworks_common.client import online_store_rest_client as of_sdk

    monkeypatch.setattr(of_sdk, "_online_store_rest_client", None)  # as when a process starts
    store = open_hopsworks("hopsworks-sdk://127.0.0.1:1?tls=false", APP, environment(cluster))
    said = opened_readiness(store)
    store.close()
    assert said.startswith(
        "cannot prepare reads of the feature view from RonDB: 127.0.0.1:1 cannot be reached (connection refused), needs"
    )


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://a", "the store is redis://a, needs one of hopsworks://, hopsworks-sdk://"),
        ("hopsworks://a/project", "the store is hopsworks://a/project, needs one of"),
        ("hopsworks://key@a", "the store is hopsworks://a, needs one of"),
        ("hopsworks://?tls=maybe", "the store's URL has tls=maybe, needs tls=true or false"),
        ("hopsworks://?client=sql", "the store's URL has client=sql, needs tls=true or false, for the SDK also client"),
        ("hopsworks-sdk://?clint=sql", "the store's URL has clint=sql, needs"),
        ("hopsworks://a:http", "the store's URL has a port that is none, needs 1 to 65535"),
        ("hopsworks://a:70000", "the store's URL has a port that is none, needs 1 to 65535"),
    ],
)
def test_a_url_that_is_no_store_is_refused(url, said):
    with pytest.raises(ValueError) as refused:
        StoreURL.of(url)
    assert str(refused.value).startswith(said)


def test_a_url_of_each_reader():
    assert StoreURL.of("hopsworks://") == StoreURL("hopsworks")
    assert StoreURL.of("hopsworks-sdk://h:1?client=sql&tls=false") == StoreURL("hopsworks-sdk", "h", 1, False, "sql")


def test_variables_that_lack_are_refused_at_start():
    with pytest.raises(ValueError, match="no host of Hopsworks was given, needs HOPSWORKS_HOST="):
        open_hopsworks("hopsworks://", APP, {})
