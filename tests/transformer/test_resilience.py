"""What a transformer's settings put before its store, and which of them mean nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headrace.settings import SettingsError, TransformerSettings
from headrace.stores.breaker import Tolerance
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.hedged import Hedging
from headrace.stores.memory import MemoryStore
from headrace.stores.near_cache import Keeping
from headrace.stores.resilient import Resilience, Resilient
from tests.transformer.small import VIEW
from transformer.resilience import guarded, resilience_of


def test_by_default_there_is_a_breaker_alone() -> None:
    assert resilience_of(TransformerSettings()) == Resilience(Tolerance(open_s=0.5, patience_s=0.0125))


def test_every_setting_reaches_its_layer() -> None:
    settings = TransformerSettings(
        on_store_failure="stale",
        store_timeout_ms=20,
        store_retry_ms=250,
        cache_entries=7,
        cache_mib=3,
        cache_ttl_ms=500,
        cache_missing_ttl_ms=100,
        stale_limit_ms=9_000,
        second_reads=True,
    )
    keeping = Keeping(7, 3 << 20, 0.5, 0.1, 9.0)
    assert resilience_of(settings) == Resilience(
        Tolerance(open_s=0.25, patience_s=0.005), keeping, Hedging(), 0.02, "stale"
    )


@pytest.mark.parametrize(
    "told",
    [{"cache_entries": 1}, {"second_reads": True}, {"store_timeout_ms": 1.0}, {"on_store_failure": "default"}],
)
def test_the_embedded_store_is_left_alone_unless_told_otherwise(tmp_path: Path, told: dict[str, Any]) -> None:
    store = EmbeddedStore(tmp_path / "store", readonly=True)
    assert guarded(store, TransformerSettings(), VIEW.groups) is store
    assert isinstance(guarded(store, TransformerSettings(**told), VIEW.groups), Resilient)
    assert isinstance(guarded(MemoryStore(), TransformerSettings(), VIEW.groups), Resilient)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("sometimes", "on_store_failure says 'sometimes', needs one of reject, stale, default"),
        ("cards=stale", "on_store_failure names group 'cards', needs one of users"),
        ("stale", "on_store_failure says 'stale', which needs rows that are kept: set cache_entries above 0"),
    ],
)
def test_a_policy_that_cannot_be_kept_stops_the_start(told: str, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        guarded(MemoryStore(), TransformerSettings(on_store_failure=told), VIEW.groups)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"cache_entries": -1}, "setting cache_entries is -1, needs a number, 0 or more"),
        ({"store_timeout_ms": float("nan")}, "setting store_timeout_ms is nan, needs a number, 0 or more"),
        ({"stale_limit_ms": float("inf")}, "setting stale_limit_ms is inf, needs a number, 0 or more"),
        ({"cache_ttl_ms": 0.0}, "setting cache_ttl_ms is 0.0, needs more than 0"),
        ({"cache_mib": 0}, "setting cache_mib is 0, needs more than 0"),
    ],
)
def test_a_setting_without_meaning_is_refused(told: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        TransformerSettings(**told)
    assert str(refused.value) == message
