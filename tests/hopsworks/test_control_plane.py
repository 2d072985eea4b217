"""The control plane through the unmodified SDK: logging in, feature groups and views, and what is refused."""

import http.client
import json
import ssl

import pytest
from hopsworks.client.exceptions import ProjectException, RestAPIError
from hsfs.feature import Feature

from tests.hopsworks import StandInError
from tests.hopsworks.sdk import TERMINALS, logged_in, make_group, make_view, over_count


def test_the_sdk_needs_no_route_that_is_not_there(cluster, store):
    view = make_view(store, "routes")
    assert store.get_feature_view("fraud_routes", 1).name == view.name
    assert cluster.unknown == []


def test_a_group_is_read_as_it_was_created(store):
    make_view(store, "read")
    group = store.get_feature_group("cards_read", 1)
    kinds = {feature.name: (feature.type, feature.online_type, feature.on_demand) for feature in group.columns}
    assert kinds["tiles"] == ("binary", "varbinary(3000)", False)
    assert kinds["amount_over_count"] == ("double", "double", True)
    assert (group.primary_key, group.event_time, group.online_enabled) == (["cc_num"], "datetime", True)
    assert group.transformation_functions[0].hopsworks_udf.output_column_names == ["amount_over_count"]


def test_what_is_not_there_is_none_to_the_sdk(store):
    assert store.get_feature_group("nowhere_fg", 1) is None
    assert store.get_feature_view("nowhere_fv", 1) is None


def test_features_are_appended_and_described(store):
    group = make_group(store, "appended_fg", TERMINALS)
    group.append_features([Feature("more", "double")])
    group.update_description("Terminals.")
    found = store.get_feature_group("appended_fg", 1)
    assert [feature.name for feature in found.columns] == ["terminal_id", "datetime", "risk", "more"]
    assert found.description == "Terminals."


def test_a_transformation_function_is_registered_once(store):
    made = store.create_transformation_function(over_count, version=1)
    made.save()
    found = store.get_transformation_function("over_count", 1)
    assert found.version == 1
    with pytest.raises(RestAPIError, match="exists already"):
        store.create_transformation_function(over_count, version=1).save()
    found.delete()
    assert store.get_transformation_function("over_count", 1) is None


def test_a_group_and_a_view_are_deleted(store):
    view = make_view(store, "gone")
    with pytest.raises(RestAPIError, match="used by feature views"):
        store.get_feature_group("cards_gone", 1).delete()
    view.delete()
    store.get_feature_group("cards_gone", 1).delete()
    assert store.get_feature_view("fraud_gone", 1) is None
    assert store.get_feature_group("cards_gone", 1) is None


KEY, TIME = Feature("k", "bigint"), Feature("datetime", "timestamp")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (Feature("9", "double"), "feature name"),
        (Feature("risk", "number"), "feature type"),
        (Feature("tiles", "binary", online_type="varbinary(30000)"), "too long"),
        (Feature("k", "double"), "named twice"),
    ],
)
def test_a_group_that_hopsworks_would_not_make_is_refused(store, more, said):
    with pytest.raises(RestAPIError, match=said):
        make_group(store, "refused_fg", (("k", "bigint"),), features=[KEY, TIME, more])


def test_a_key_of_a_joined_group_carries_the_prefix(store):
    view = make_view(store, "keys")
    assert [key.required_serving_key for key in view.serving_keys] == ["card_cc_num", "terminal_terminal_id"]
    assert [feature.name for feature in view.features if feature.label] == ["fraud"]


def test_wrong_credentials_are_refused(cluster, tmp_path):
    with pytest.raises(RestAPIError, match="320004"), logged_in(cluster, tmp_path, api_key_value="wrong.key"):
        pass
    with pytest.raises(ProjectException, match="elsewhere"), logged_in(cluster, tmp_path, project="elsewhere"):
        pass


def ask(cluster, method, path, told=None):
    trusted = ssl.create_default_context(cafile=cluster.ca_file)
    asking = http.client.HTTPSConnection(cluster.host, cluster.port, context=trusted)
    body = None if told is None else json.dumps(told)
    asking.request(method, f"/hopsworks-api/api/{path}", body, {"Authorization": f"ApiKey {cluster.api_key}"})
    answer = asking.getresponse()
    said = answer.read().decode()
    asking.close()
    return answer.status, said


def test_a_route_that_is_not_there_is_404_and_kept(cluster):
    assert ask(cluster, "GET", "project/119/nothing")[0] == 404
    assert ("GET", "/hopsworks-api/api/project/119/nothing") in cluster.unknown


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"features": None}, "Field features"),
        ({"onlineEnabled": "yes"}, "Field onlineEnabled"),
        ({"timeTravelFormat": "DELTA"}, "DELTA"),
        ({"type": "something"}, "feature group type"),
        ({"name": "Cards"}, "feature group name"),
        ({"eventTime": "when"}, "event time"),
        ({"features": [{"name": "k", "type": "bigint"}]}, "primary key"),
        ({"featurestoreId": 1}, "Featurestore"),
    ],
)
def test_a_body_is_checked(cluster, change, said):
    key = {"name": "k", "type": "bigint", "primary": True}
    told = {"name": "raw_fg", "type": "streamFeatureGroupDTO", "features": [key], "onlineEnabled": True}
    status, answer = ask(
        cluster, "POST", "project/119/featurestores/67/featuregroups", {**told, "featurestoreId": 67, **change}
    )
    assert status in (400, 404)
    assert said in answer


def test_another_project_and_store_are_refused(cluster):
    assert ask(cluster, "GET", "project/120/featurestores/67/featuregroups")[0] == 403
    assert ask(cluster, "GET", "project/119/featurestores/68/featuregroups")[0] == 403


def test_a_call_says_why_it_failed(cluster):
    with pytest.raises(StandInError, match="nowhere_fg"):
        cluster.rows("nowhere_fg", 1)
