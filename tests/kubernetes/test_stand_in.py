"""The server is held to what the real one does, by the unmodified client and by laws of server-side apply."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as some
from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException

from tests.kubernetes.fields import Conflicts, fields, merged, took
from tests.kubernetes.server import StandIn

APPLY = {"_content_type": "application/apply-patch+yaml"}


@pytest.fixture
def core(stand_in: StandIn) -> Iterator[client.CoreV1Api]:
    """The core API of the real client, not ours."""
    settings = client.Configuration()
    config.load_kube_config(str(stand_in.kubeconfig()), client_configuration=settings)
    with client.ApiClient(settings) as connected:
        yield client.CoreV1Api(connected)


def declared(name: str, **data: str) -> dict:
    """A ConfigMap with some data and a label."""
    metadata = {"name": name, "labels": {"of": name}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def test_objects_are_made_read_listed_changed_and_deleted(core):
    made = core.create_namespaced_config_map("shop", declared("a", x="1"))
    core.create_namespaced_config_map("shop", declared("b", x="2"))
    assert made.metadata.uid
    assert core.read_namespaced_config_map("a", "shop").data == {"x": "1"}
    assert [each.metadata.name for each in core.list_namespaced_config_map("shop").items] == ["a", "b"]
    assert [each.metadata.name for each in core.list_namespaced_config_map("shop", label_selector="of=b").items] == [
        "b"
    ]
    changed = core.patch_namespaced_config_map("a", "shop", {"data": {"y": "3"}})
    assert changed.data == {"x": "1", "y": "3"}
    assert int(changed.metadata.resource_version) > int(made.metadata.resource_version)
    core.delete_namespaced_config_map("a", "shop")
    with pytest.raises(ApiException) as gone:
        core.read_namespaced_config_map("a", "shop")
    assert (gone.value.status, '"a\\" not found' in gone.value.body) == (404, True)
    with pytest.raises(ApiException) as twice:
        core.create_namespaced_config_map("shop", declared("b"))
    assert (twice.value.status, "AlreadyExists" in twice.value.body) == (409, True)


def test_long_lists_come_in_pages(core):
    for name in "abcde":
        core.create_namespaced_config_map("shop", declared(name))
    first = core.list_namespaced_config_map("shop", limit=2)
    assert len(first.items) == 2
    second = core.list_namespaced_config_map("shop", limit=3, _continue=first.metadata._continue)
    assert ([each.metadata.name for each in second.items], second.metadata._continue) == (["c", "d", "e"], None)


def test_a_dry_run_tells_and_keeps_nothing(core):
    assert core.create_namespaced_config_map("shop", declared("kept")).metadata.name == "kept"
    tried = core.patch_namespaced_config_map("kept", "shop", {"data": {"x": "1"}}, dry_run="All")
    assert tried.data == {"x": "1"}
    assert not core.read_namespaced_config_map("kept", "shop").data


def test_a_watch_tells_what_happens_after_a_version(core):
    core.create_namespaced_config_map("shop", declared("before"))
    since = core.list_namespaced_config_map("shop").metadata.resource_version
    core.create_namespaced_config_map("shop", declared("a"))
    core.patch_namespaced_config_map("a", "shop", {"data": {"x": "1"}})
    core.delete_namespaced_config_map("a", "shop")
    seen = watch.Watch().stream(
        core.list_namespaced_config_map, "shop", resource_version=since, timeout_seconds=5, label_selector="of=a"
    )
    assert [next(seen)["type"] for _ in range(3)] == ["ADDED", "MODIFIED", "DELETED"]


def test_a_watch_ends_when_its_time_is_over(core):
    assert list(watch.Watch().stream(core.list_namespaced_config_map, "shop", timeout_seconds=1)) == []


def test_apply_makes_changes_and_refuses_as_the_real_one(core, stand_in):
    def apply(manager: str, force: bool = False, **data: str) -> client.V1ConfigMap:
        body = declared("a", **data)
        return core.patch_namespaced_config_map("a", "shop", body, field_manager=manager, force=force, **APPLY)

    assert apply("one", x="1", y="1").data == {"x": "1", "y": "1"}
    version = apply("one", x="1", y="1").metadata.resource_version
    assert apply("one", x="1", y="1").metadata.resource_version == version  # what changes nothing is no new version
    assert apply("one", x="1").data == {"x": "1"}
    assert apply("two", x="1", z="2").data == {"x": "1", "z": "2"}  # the same value may have two owners
    with pytest.raises(ApiException) as conflict:
        apply("one", x="9")
    assert conflict.value.status == 409
    assert 'conflict with \\"two\\" using v1: .data.x' in conflict.value.body
    assert apply("one", force=True, x="9").data == {"x": "9", "z": "2"}
    managers = {
        each.manager: each.fields_v1 for each in core.read_namespaced_config_map("a", "shop").metadata.managed_fields
    }
    assert managers["two"]["f:data"] == {"f:z": {}}


VALUES = some.recursive(
    some.integers(0, 2),
    lambda below: (
        some.dictionaries(some.sampled_from("abc"), below, min_size=1, max_size=2)
        | some.lists(
            some.fixed_dictionaries({"name": some.sampled_from("xy"), "v": some.integers(0, 2)}),
            min_size=1,
            max_size=2,
            unique_by=lambda item: item["name"],
        )
    ),
    max_leaves=5,
)
OBJECTS = some.dictionaries(some.sampled_from(["spec", "data"]), VALUES, min_size=1)


@given(OBJECTS)
def test_applying_twice_is_applying_once(wanted):
    owners: dict = {}
    once = merged({}, owners, wanted, "me", False)
    assert fields(once) == fields(wanted)
    assert merged(once, owners, wanted, "me", False) == once


@given(OBJECTS, OBJECTS)
def test_what_i_leave_out_goes_and_nothing_else_does(before, after):
    owners: dict = {}
    made = merged(merged({}, owners, before, "me", False), owners, after, "me", True)
    assert fields(made).items() >= fields(after).items()
    assert owners["me"] == fields(after).keys()


@given(OBJECTS, OBJECTS)
def test_what_another_set_never_changes_unless_it_is_forced(theirs, mine):
    owners: dict = {}
    held = merged({}, owners, theirs, "other", False)
    before = deepcopy(owners)
    try:
        made = merged(held, owners, mine, "me", False)
    except Conflicts:
        assert owners == before
        return
    shared = fields(theirs).keys() & fields(mine).keys()
    assert all(fields(made)[path] == fields(theirs)[path] for path in shared)


def test_a_change_by_other_means_takes_the_field():
    owners: dict = {}
    held = merged({}, owners, {"spec": {"a": 1, "b": 1}}, "me", False)
    took(owners, held, {"spec": {"a": 2, "b": 1}}, "editor")
    assert owners == {"me": {("f:spec", "f:b")}, "editor": {("f:spec", "f:a")}}
