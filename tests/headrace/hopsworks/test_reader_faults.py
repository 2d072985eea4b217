"""Faults of a cluster on the wire: to both readers an error of its kind, never a value; their end is noticed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from applications.fraud.app import APP
from headrace.hopsworks.declared import Declared
from headrace.hopsworks.opening import StoreURL, opened
from headrace.stores.online import Block, Lookup, OnlineStore, ReadDeadlinePassed, RowsUnread, StoreUnavailable
from headrace.stores.rondb.errors import AccessRefused, BrokenAnswer, RonDBAway, ViewAbsent
from tests.headrace.hopsworks.filled import cluster_of, environment, fill, one_event_each
from tests.hopsworks import StandIn

NOW = 1_772_323_200_000
KEYS = np.arange(6)
LOOKUPS = [Lookup(group, KEYS) for group in APP.groups]
PATIENT_S, SHORT_S = 20.0, 0.2

#: What a server does wrong, and what it is to our reader and to the SDK's.
FAULTS: dict[str, tuple[dict[str, Any], type, type]] = {
    "late": ({"delay_ms": 5_000}, ReadDeadlinePassed, ReadDeadlinePassed),
    "cut before an answer": ({"drop": "connection"}, RonDBAway, RonDBAway),
    "cut after the headers": ({"drop": "headers"}, BrokenAnswer, RonDBAway),
    "cut in the middle": ({"truncate": True}, BrokenAnswer, RonDBAway),
    "a row too few": ({"shape": "short"}, BrokenAnswer, BrokenAnswer),
    "no JSON": ({"shape": "text"}, BrokenAnswer, BrokenAnswer),
    "400": ({"status": 400}, ViewAbsent, ViewAbsent),
    "403": ({"status": 403}, AccessRefused, AccessRefused),
    "429": ({"status": 429}, RonDBAway, RonDBAway),
    "500": ({"status": 500}, RonDBAway, RonDBAway),
    "503": ({"status": 503}, RonDBAway, RonDBAway),
    "closed": ({"listening": "closed"}, RonDBAway, RonDBAway),
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """A cluster with six cards and terminals of one event each, of the amount of their key."""
    with cluster_of(APP, tmp_path_factory.mktemp("cluster")) as made:
        fill(made, APP, one_event_each(APP, KEYS, NOW - 1000))
        yield made


@pytest.fixture(params=["hopsworks", "hopsworks-sdk"])
def reader(request: pytest.FixtureRequest, cluster: StandIn) -> Iterator[OnlineStore]:
    """Our reader, and the SDK's."""
    url = f"{request.param}://{cluster.host}:{cluster.rdrs_port}?tls=false"
    store = opened(StoreURL.of(url), Declared.of(APP), environment(cluster))
    yield store
    store.close()
    cluster.faults.clear()


async def read(store: OnlineStore, seconds: float = PATIENT_S) -> list[Block]:
    """Read all keys within a time."""
    return await store.read(LOOKUPS, np.full(6, NOW), asyncio.get_running_loop().time() + seconds)


def is_right(blocks: list[Block]) -> bool:
    """Tell whether every card has its own amount and every terminal was found."""
    return blocks[0].values[:, -1].tolist() == KEYS.tolist() and bool(blocks[1].found.all())


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_an_error_of_its_kind_until_it_ends(cluster, reader, fault):
    how, ours, theirs = FAULTS[fault]

    async def scene() -> StoreUnavailable:
        assert is_right(await read(reader))
        cluster.faults.set("rdrs", **how)
        with pytest.raises(StoreUnavailable) as failed:
            await read(reader, SHORT_S if fault == "late" else PATIENT_S)
        cluster.faults.clear()
        assert is_right(await read(reader))
        return failed.value

    error = asyncio.run(scene())
    assert type(error) is (ours if type(reader).__name__ == "RonDBStore" else theirs), str(error)
    assert cluster.api_key not in str(error)


def test_a_row_that_could_not_be_read_is_not_taken_for_a_missing_one(cluster):
    """The SDK's reader cannot tell them apart: the SDK itself gives nulls for both."""
    store = opened(
        StoreURL.of(f"hopsworks://{cluster.host}:{cluster.rdrs_port}?tls=false"),
        Declared.of(APP),
        environment(cluster),
    )

    async def scene() -> None:
        cluster.faults.set("rdrs", shape="null-row")
        with pytest.raises(RowsUnread, match="could not read 1 of 6 vectors of view fraud_tiles_fv version 1"):
            await read(store)
        cluster.faults.clear()
        assert is_right(await read(store))
        store.close()

    asyncio.run(scene())


def test_connections_that_hang_are_given_up_at_the_deadline(cluster):
    cluster.faults.set("rdrs", listening="closed")  # whatever was open is cut
    cluster.faults.set("rdrs", listening="hang")
    url = f"hopsworks://{cluster.host}:{cluster.rdrs_port}?tls=false"
    store = opened(StoreURL.of(url), Declared.of(APP), environment(cluster))

    async def scene() -> None:
        with pytest.raises(ReadDeadlinePassed, match="had no answer when the read's deadline passed"):
            await read(store, SHORT_S)
        cluster.faults.clear()
        assert is_right(await read(store))
        store.close()

    asyncio.run(scene())


def test_a_key_that_was_rotated_is_read_again_from_its_file(cluster, tmp_path):
    file = tmp_path / "key"
    file.write_text(cluster.api_key)
    known = {name: value for name, value in environment(cluster).items() if name != "HOPSWORKS_API_KEY"}
    url = f"hopsworks://{cluster.host}:{cluster.rdrs_port}?tls=false"
    store = opened(StoreURL.of(url), Declared.of(APP), known | {"HOPSWORKS_API_KEY_FILE": str(file)})

    async def scene() -> None:
        assert is_right(await read(store))
        key = cluster.rotate_key()
        with pytest.raises(AccessRefused, match=r"401, needs one .*: a key file is read again, a key in a .* restart"):
            await read(store)
        file.write_text(f"{key}\n")
        assert is_right(await read(store))
        file.unlink()
        cluster.rotate_key()
        with pytest.raises(AccessRefused, match=re.escape(f"the key file {str(file)!r} cannot be read")):
            await read(store)
        store.close()

    asyncio.run(scene())
