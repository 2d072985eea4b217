"""A Hopsworks cluster as the stock transformer reads it: ready-made values and two functions, in one view.

The values are those at NOW_MS, when every request is made: the stock side and Headrace give the same answers.
"""

from __future__ import annotations

import asyncio
import io
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

import numpy as np

from benchmarks.ground import NOW_MS, Ground
from headrace.features.windows import WindowedGroup
from headrace.hopsworks.session import HopsworksSettings, connect
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import Lookup
from tests.headrace.hopsworks.filled import environment
from tests.hopsworks import StandIn

VIEW, PAYMENTS = "stock_fv", "stock_payments_fg"
_AT_ONCE = 500
_KEYS = (("tid", "bigint"), ("cc_num", "bigint"), ("terminal_id", "bigint"), ("datetime", "timestamp"))


def add_stock_view(ground: Ground, cluster: StandIn) -> None:
    """Make the feature groups and the view that the stock transformer reads, through the SDK, and fill them."""
    with connect(HopsworksSettings.of(environment(cluster))) as session, redirect_stdout(io.StringIO()):
        from benchmarks.peers.stock_functions import ATTACHED  # importing it loads the SDK

        store = session.feature_store
        root = _group(store, PAYMENTS, (*_KEYS, ("fraud_label", "double")))
        query, cards = root.select(["fraud_label"]), ground.app.groups[0]
        for group in ground.app.groups:
            functions = ATTACHED if group is cards else ()
            attached = [function(*inputs).alias(*outputs) for function, inputs, outputs in functions]
            columns = ((group.key, "bigint"), ("datetime", "timestamp"), *((n, "double") for n in group.column_names))
            made = _group(store, _name(group), columns, transformation_functions=attached)
            wanted = [*group.column_names, *(name for _, _, outputs in functions for name in outputs)]
            query = query.join(made.select(wanted), on=[group.key], join_type="left", prefix=f"{group.name}_")
        store.create_feature_view(VIEW, version=1, query=query, labels=["fraud_label"])
    values = EmbeddedStore(ground.store, readonly=True)
    for group in ground.app.groups:
        _fill(ground, cluster, group, values)
    values.close()


@contextmanager
def variables(given: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment, which processes that are started inherit, until the block ends."""
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _name(group: WindowedGroup) -> str:
    return f"stock_{group.name}_fg"


def _group(store: Any, name: str, columns: tuple[tuple[str, str], ...], **other: Any) -> Any:
    import hopsworks

    feature = hopsworks.hsfs.feature.Feature
    made = store.create_feature_group(
        name,
        version=1,
        primary_key=[columns[0][0]],
        event_time="datetime",
        online_enabled=True,
        stream=True,
        time_travel_format="HUDI",
        hudi_precombine_key="datetime",
        statistics_config=False,
        features=[feature(column, kind, primary=at == 0) for at, (column, kind) in enumerate(columns)],
        **other,
    )
    made.save()
    return made


def _fill(ground: Ground, cluster: StandIn, group: WindowedGroup, values: EmbeddedStore) -> None:
    keys = np.unique(ground.events[group.key])
    block = asyncio.run(values.read([Lookup(group, keys)], np.full(keys.size, NOW_MS)))[0]
    for at in range(0, keys.size, _AT_ONCE):
        part = slice(at, at + _AT_ONCE)
        rows = [
            {group.key: key, "datetime": NOW_MS, **_known(group.column_names, row)}
            for key, row in zip(keys[part].tolist(), block.values[part].tolist(), strict=True)
        ]
        cluster.put(_name(group), 1, rows)


def _known(names: tuple[str, ...], row: list[float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in zip(names, row, strict=True)}
