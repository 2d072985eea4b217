"""The unmodified SDK logged in to a cluster, and the feature groups and view that tests of the cluster use."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.hopsworks.cluster import StandIn

logging.root.addHandler(logging.NullHandler())  # or importing the SDK makes the whole process log to stderr

import hopsworks  # noqa: E402
from hsfs.feature import Feature  # noqa: E402

CARDS = ("cc_num", "bigint"), ("datetime", "timestamp"), ("amount_count_1d", "double"), ("tiles", "binary")
TERMINALS = ("terminal_id", "bigint"), ("datetime", "timestamp"), ("risk", "double")
LABELS = (
    ("tid", "string"),
    ("cc_num", "bigint"),
    ("terminal_id", "bigint"),
    ("datetime", "timestamp"),
    ("fraud", "boolean"),
)


@contextlib.contextmanager
def logged_in(cluster: StandIn, folder: Path, **other: Any) -> Iterator[Any]:
    """Yield the SDK's project; `other` takes the place of what is right."""
    told: dict[str, Any] = {
        "host": cluster.host,
        "port": cluster.port,
        "project": cluster.project,
        "api_key_value": cluster.api_key,
        "hostname_verification": True,
        "trust_store_path": cluster.ca_file,
        "cert_folder": str(folder / "certificates"),
        "engine": "python",
    }
    with contextlib.redirect_stdout(io.StringIO()):
        project = hopsworks.login(**{**told, **other})
    try:
        yield project
    finally:
        hopsworks.logout()


@hopsworks.udf(float, mode="python")
def over_count(amount_count_1d, amount):
    return amount / amount_count_1d if amount_count_1d else -1.0


def make_group(store: Any, name: str, columns: tuple[tuple[str, str], ...], version: int = 1, **other: Any) -> Any:
    """Create a feature group, whose key is its first column, and return the SDK's object."""
    online = {"binary": "varbinary(3000)", "string": "varchar(100)"}
    group = store.get_or_create_feature_group(
        name,
        version=version,
        **{
            "primary_key": [columns[0][0]],
            "event_time": "datetime",
            "online_enabled": True,
            "stream": True,
            "time_travel_format": "HUDI",
            "features": [Feature(column, kind, online_type=online.get(kind)) for column, kind in columns],
            **other,
        },
    )
    with contextlib.redirect_stdout(io.StringIO()):
        group.save()
    return group


def make_view(store: Any, tag: str) -> Any:
    """Create the groups `labels_<tag>`, `cards_<tag>`, `terminals_<tag>` and the view `fraud_<tag>` of them."""
    labels = make_group(store, f"labels_{tag}", LABELS)
    over = over_count("amount_count_1d", "amount").alias("amount_over_count")
    cards = make_group(store, f"cards_{tag}", CARDS, transformation_functions=[over])
    terminals = make_group(store, f"terminals_{tag}", TERMINALS)
    query = labels.select(["fraud"])
    query = query.join(
        cards.select([name for name, _ in CARDS[1:]] + ["amount_over_count"]), on=["cc_num"], prefix="card_"
    )
    query = query.join(terminals.select(["risk"]), on=["terminal_id"], prefix="terminal_")
    with contextlib.redirect_stdout(io.StringIO()):
        return store.get_or_create_feature_view(f"fraud_{tag}", version=1, query=query, labels=["fraud"])
