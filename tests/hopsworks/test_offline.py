"""The query service of the cluster answers what it signed, to whom the cluster knows, and nothing else."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.flight as flight
import pytest

from tests.hopsworks.certificates import Authority
from tests.hopsworks.offline import NAME, PORT, OfflineStore, QueryService

GROUP = {
    "id": 7,
    "eventTime": "at",
    "features": [
        {"name": "k", "type": "bigint", "primary": True, "onDemand": False},
        {"name": "at", "type": "timestamp", "primary": False, "onDemand": False},
        {"name": "x", "type": "double", "primary": False, "onDemand": False},
        {"name": "computed", "type": "double", "primary": False, "onDemand": True},
    ],
}


@pytest.fixture
def store():
    store = OfflineStore()
    store.upsert(GROUP, [{"k": n, "at": 1000 * n, "x": None if n == 1 else float(n)} for n in range(5)])
    return store


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture
def service(authority, store):
    service = QueryService(authority, lambda _: store.table(GROUP))
    yield service
    service.close()


def connected(service, authority, **other):
    certificate, key = authority.signed("tester")
    told = {"tls_root_certs": authority.pem, "cert_chain": certificate, "private_key": key, "override_hostname": NAME}
    return flight.connect(f"grpc+tls://{service.host}:{PORT}", **{**told, **other})


def read(service, client, query, signature=""):
    signed = service.signed(query)
    info = client.get_flight_info(flight.FlightDescriptor.for_command(signed["hqsPayload"].encode()))
    header = (b"hopsworks-signature", (signature or signed["hqsPayloadSignature"]).encode())
    return client.do_get(info.endpoints[0].ticket, flight.FlightCallOptions(headers=[header])).read_all()


def test_a_row_is_known_by_key_and_time(store):
    store.upsert(GROUP, [{"k": 0, "at": 0, "x": 9.0}, {"k": 0, "at": 1, "x": 1.0}])
    assert store.count(GROUP) == 6
    assert store.table(GROUP).to_pydict()["x"] == [9.0, None, 2.0, 3.0, 4.0, 1.0]
    assert store.table(GROUP).schema.field("at").type == pa.timestamp("us")


def test_it_filters_and_selects(service, authority):
    conditions = [
        {"feature": {"name": "at"}, "condition": "GREATER_THAN_OR_EQUAL", "value": "1970-01-01 00:00:01"},
        {"feature": {"name": "at"}, "condition": "LESS_THAN", "value": "1970-01-01 00:00:03"},
    ]
    both = {"type": "AND", "leftFilter": conditions[0], "rightFilter": conditions[1]}
    with connected(service, authority) as client:
        found = read(service, client, {"group": 7, "features": ["x", "k"], "filter": both})
        assert found.to_pydict() == {"x": [None, 2.0], "k": [1, 2]}
        single = {"type": "SINGLE", "leftFilter": conditions[0]}
        assert read(service, client, {"group": 7, "features": ["k"], "filter": single}).num_rows == 4


def test_a_query_that_was_not_signed(service, authority):
    with connected(service, authority) as client, pytest.raises(flight.FlightUnauthenticatedError, match="not signed"):
        read(service, client, {"group": 7, "features": ["k"], "filter": None}, signature="0" * 64)


def test_who_is_not_of_the_cluster(service, authority):
    certificate, key = Authority().signed("stranger")
    client = connected(service, authority, cert_chain=certificate, private_key=key)
    with client, pytest.raises(flight.FlightUnavailableError):
        list(client.do_action(flight.Action("healthcheck", b""), flight.FlightCallOptions(timeout=20)))


def test_an_action_that_it_does_not_know(service, authority):
    with connected(service, authority) as client, pytest.raises(flight.FlightServerError, match="no such action"):
        list(client.do_action(flight.Action("drop", b"")))
