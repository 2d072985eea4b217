"""RonDB REST through the SDK and without it: the same vectors, what is told of missing rows, what is refused."""

import http.client
import json

import pytest
from hopsworks.client.exceptions import RestAPIError

from tests.hopsworks.sdk import make_view

CARD = {"cc_num": 1, "datetime": 1_700_000_000_123, "amount_count_1d": 2.0, "tiles": b"\x00\xff\x10"}
TERMINAL = {"terminal_id": 7, "datetime": 1_700_000_000_000, "risk": 0.25}
KEYS = {"card_cc_num": 1, "terminal_terminal_id": 7}


@pytest.fixture(scope="module")
def view(cluster, store):
    found = make_view(store, "vectors")
    cluster.put("cards_vectors", 1, [CARD])
    cluster.put("terminals_vectors", 1, [TERMINAL])
    return found


def serve(view, cluster, *, tls):
    at = cluster.rdrs_tls_port if tls else cluster.rdrs_port
    config = {"host": cluster.host, "port": at, "use_ssl": tls, "verify_certs": True}
    view.init_serving(
        1, init_sql_client=False, init_rest_client=True, reset_rest_client=True, config_rest_client=config
    )


@pytest.mark.parametrize("tls", [False, True])
def test_the_sdk_reads_a_vector_and_computes_what_is_on_demand(view, cluster, tls):
    serve(view, cluster, tls=tls)
    vector = view.get_feature_vector(KEYS, request_parameters={"amount": 5.0})
    assert vector[0].isoformat() == "2023-11-14T22:13:20.123000"
    assert vector[1:] == [2.0, b"\x00\xff\x10", 2.5, 0.25]


def test_the_sdk_reads_a_batch_with_rows_missing(view, cluster):
    serve(view, cluster, tls=False)
    asked = [KEYS, {**KEYS, "card_cc_num": 2}, {"card_cc_num": 2, "terminal_terminal_id": 8}]
    vectors = view.get_feature_vectors(asked, request_parameters={"amount": 5.0}, allow_missing=True)
    assert [vector[-1] for vector in vectors] == [0.25, 0.25, None]
    assert [vector[1] for vector in vectors] == [2.0, None, None]


def ask(cluster, path, told, key=None):
    asking = http.client.HTTPConnection(cluster.host, cluster.rdrs_port)
    body = told if isinstance(told, bytes) else json.dumps(told)
    asking.request("POST", f"/0.1.0/{path}", body, {"X-API-KEY": key or cluster.api_key})
    answer = asking.getresponse()
    said = answer.read().decode()
    asking.close()
    return answer.status, json.loads(said) if answer.status == 200 else said


def asked(cluster, entries, **other):
    view = {"featureStoreName": cluster.project, "featureViewName": "fraud_vectors", "featureViewVersion": 1}
    return {**view, "entries": entries, **other}


def test_a_missing_row_has_nulls_and_its_status(view, cluster):
    told = asked(cluster, [KEYS, {"cc_num": 2, "terminal_id": 7}], options={"includeDetailedStatus": True})
    status, said = ask(cluster, "batch_feature_store", told)
    assert (status, said["status"]) == (200, ["COMPLETE", "MISSING"])
    assert said["features"][0] == ["2023-11-14 22:13:20.123000", 2.0, "AP8Q", None, 0.25]
    assert said["features"][1] == [None, None, None, None, 0.25]
    assert [[one["httpStatus"] for one in row] for row in said["detailedStatus"]] == [[200, 200], [404, 200]]


def test_a_changed_row_is_told_at_once(view, cluster):
    entry = {"cc_num": 31, "terminal_id": 7}
    for count in (1.0, 2.0):
        cluster.put("cards_vectors", 1, [{**CARD, "cc_num": 31, "amount_count_1d": count}])
        assert ask(cluster, "feature_store", asked(cluster, entry))[1]["features"][1] == count
    cluster.delete("cards_vectors", 1, [[31]])
    assert ask(cluster, "feature_store", asked(cluster, entry))[1]["status"] == "MISSING"


def test_metadata_is_told_where_asked(view, cluster):
    told = asked(cluster, KEYS, metadataOptions={"featureName": True, "featureType": True})
    assert ask(cluster, "feature_store", told)[1]["metadata"][1] == {
        "featureName": "card_amount_count_1d",
        "featureType": "double",
    }


@pytest.mark.parametrize(
    ("path", "change", "status", "said"),
    [
        ("feature_store", {"featureViewName": "elsewhere"}, 400, "view does not exist"),
        ("feature_store", {"featureStoreName": "elsewhere"}, 400, "store does not exist"),
        ("feature_store", {"entries": {"tid": "a"}}, 400, "Incorrect primary key: tid"),
        ("feature_store", {"entries": {}}, 400, "Incorrect primary key"),
        ("feature_store", {"entries": {"cc_num": "1"}}, 400, "needs int"),
        ("feature_store", {"entries": [KEYS]}, 400, "needs an object"),
        ("batch_feature_store", {"entries": []}, 400, "needs a list"),
        ("batch_feature_store", {"entries": [KEYS], "passedFeatures": [{}, {}]}, 400, "as many"),
        ("elsewhere", {}, 404, "not found"),
    ],
)
def test_a_wrong_request_is_refused(view, cluster, path, change, status, said):
    found, answer = ask(cluster, path, {**asked(cluster, KEYS), **change})
    assert found == status
    assert said in answer


def test_a_wrong_entry_of_a_batch_spoils_its_own_row_alone(view, cluster):
    wrong = [KEYS, {"tid": "a"}, {"cc_num": "1", "terminal_id": 7}, {}, KEYS]
    status, said = ask(cluster, "batch_feature_store", asked(cluster, wrong))
    assert (status, said["status"]) == (200, ["COMPLETE", "ERROR", "ERROR", "ERROR", "COMPLETE"])
    assert said["features"][0] == said["features"][4]
    assert said["features"][1:4] == [[], [None] * 5, []]
    assert (said["metadata"], said["detailedStatus"]) == ([], [])


def test_a_body_that_is_no_json_and_a_wrong_key_are_refused(view, cluster):
    assert ask(cluster, "feature_store", b"{")[0] == 400
    assert ask(cluster, "feature_store", asked(cluster, KEYS), key="wrong")[0] == 401


def test_a_rotated_key_is_refused_until_the_new_one_is_used(view, cluster):
    serve(view, cluster, tls=False)
    old = cluster.api_key
    cluster.rotate_key()
    with pytest.raises(RestAPIError, match="401"):
        view.get_feature_vector(KEYS, request_parameters={"amount": 5.0})
    assert ask(cluster, "feature_store", asked(cluster, KEYS))[0] == 200
    cluster.rotate_key(old)
    assert view.get_feature_vector(KEYS, request_parameters={"amount": 5.0})[1] == 2.0
