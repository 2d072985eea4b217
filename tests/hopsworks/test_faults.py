"""Faults on the wire: each shows to a client as it says, and is gone when it is cleared."""

import http.client
import json
import socket
import ssl

import pytest

from tests.hopsworks import StandIn, StandInError
from tests.hopsworks.faults import Fault
from tests.hopsworks.sdk import logged_in, make_view

KEYS = {"cc_num": 1, "terminal_id": 7}
TIMEOUT = 5.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faulty")
    with StandIn.started(folder, kafka=False) as running, logged_in(running, folder) as project:
        make_view(project.get_feature_store(), "faults")
        moment = {"datetime": 1_700_000_000_000}
        running.put("cards_faults", 1, [{"cc_num": 1, "amount_count_1d": 2.0, "tiles": b"a", **moment}])
        running.put("terminals_faults", 1, [{"terminal_id": 7, "risk": 0.25, **moment}])
        yield running


@pytest.fixture(autouse=True)
def _healed(cluster):
    yield
    cluster.faults.clear()
    assert vectors(cluster)[0] == 200


def vectors(cluster, asking=None, timeout=TIMEOUT):
    """Ask for two vectors, over a connection of its own unless one is given; returns the status and the raw body."""
    kept = asking or http.client.HTTPConnection(cluster.host, cluster.rdrs_port, timeout=timeout)
    view = {"featureStoreName": cluster.project, "featureViewName": "fraud_faults", "featureViewVersion": 1}
    told = json.dumps({**view, "entries": [KEYS, KEYS]})
    try:
        kept.request("POST", "/0.1.0/batch_feature_store", told, {"X-API-KEY": cluster.api_key})
        answer = kept.getresponse()
        return answer.status, answer.read()
    finally:
        if asking is None:
            kept.close()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_status_takes_the_place_of_an_answer(cluster, status):
    cluster.faults.set("rdrs", status=status)
    assert vectors(cluster)[0] == status


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ({"drop": "connection"}, (ConnectionError, http.client.RemoteDisconnected)),
        ({"drop": "headers"}, http.client.IncompleteRead),
        ({"truncate": True}, http.client.IncompleteRead),
        ({"listening": "closed"}, ConnectionRefusedError),
    ],
)
def test_a_connection_ends_where_it_is_told_to(cluster, fault, seen):
    cluster.faults.set("rdrs", **fault)
    with pytest.raises(seen):
        vectors(cluster)


def test_an_answer_of_a_wrong_shape_is_still_well_sent(cluster):
    whole = json.loads(vectors(cluster)[1])["features"]
    cluster.faults.set("rdrs", shape="short")
    assert json.loads(vectors(cluster)[1])["features"] == whole[:1]
    cluster.faults.set("rdrs", shape="null-row")
    assert json.loads(vectors(cluster)[1])["features"] == [whole[0], None]
    cluster.faults.set("rdrs", shape="text")
    status, body = vectors(cluster)
    assert (status, body[:1]) == (200, b"<")


def test_a_delay_outlasts_a_client_that_does_not_wait(cluster):
    cluster.faults.set("rdrs", delay_ms=60_000)
    with pytest.raises(TimeoutError):
        vectors(cluster, timeout=0.1)


def test_unaccepted_connections_hang_and_open_ones_go_on(cluster):
    asking = http.client.HTTPConnection(cluster.host, cluster.rdrs_port, timeout=TIMEOUT)
    assert vectors(cluster, asking)[0] == 200
    cluster.faults.set("rdrs", listening="hang")
    assert vectors(cluster, asking)[0] == 200
    asking.close()
    with pytest.raises(TimeoutError):
        vectors(cluster, timeout=0.1)


def test_a_closed_server_cuts_open_connections_and_comes_back_on_its_port(cluster):
    asking = http.client.HTTPConnection(cluster.host, cluster.rdrs_port, timeout=TIMEOUT)
    assert vectors(cluster, asking)[0] == 200
    cluster.faults.set("rdrs", listening="closed")
    asking.auto_open = 0
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        vectors(cluster, asking)
    asking.close()
    cluster.faults.clear("rdrs")
    assert vectors(cluster)[0] == 200


def test_a_fault_may_meet_each_so_manieth_request_of_a_path(cluster):
    cluster.faults.set("rdrs", status=503, every=3, path="batch")
    asking = http.client.HTTPConnection(cluster.host, cluster.rdrs_port, timeout=TIMEOUT)
    assert [vectors(cluster, asking)[0] for _ in range(6)] == [200, 200, 503, 200, 200, 503]
    asking.request("GET", "/0.1.0/ping", headers={"X-API-KEY": cluster.api_key})
    assert asking.getresponse().status == 200
    asking.close()


def test_faults_of_one_server_leave_the_other_alone(cluster):
    cluster.faults.set("control", status=503)
    assert vectors(cluster)[0] == 200
    trusted = ssl.create_default_context(cafile=cluster.ca_file)
    asking = http.client.HTTPSConnection(cluster.host, cluster.port, context=trusted, timeout=TIMEOUT)
    asking.request("GET", "/hopsworks-api/api/project")
    assert asking.getresponse().status == 503
    asking.close()


def test_what_is_no_http_is_cut(cluster):
    with socket.create_connection((cluster.host, cluster.rdrs_port), timeout=TIMEOUT) as raw:
        raw.sendall(b"\x16\x03\x01 no request\r\n\r\n")
        assert raw.recv(1) == b""


@pytest.mark.parametrize(
    ("fault", "said"),
    [({"drop": "body"}, "drop is one of"), ({"shape": "long"}, "shape is one of"), ({"every": 0}, "at least 1")],
)
def test_a_fault_that_is_none_is_refused(cluster, fault, said):
    with pytest.raises(StandInError, match=said):
        cluster.faults.set("rdrs", **fault)
    with pytest.raises(ValueError, match=said):
        Fault(**fault)
