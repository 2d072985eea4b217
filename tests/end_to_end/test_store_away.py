"""A running transformer whose store goes away and comes back: refused, or answered for, as its settings say."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headrace.cli.stack import Server, StackError, server, wait_ready
from tests.end_to_end.asking import Said, ask, infer
from tests.end_to_end.ground import OUTPUT, Ground, predictor_flags, transformer_flags
from tests.end_to_end.payments import asked

COLUMNS = asked(3)
WAIT_S = 60.0
#: Rows of a second ago are fresh no longer, those of an hour ago may be answered with.
CACHED = (
    "--cache_entries",
    "1000",
    "--cache_ttl_ms",
    "1",
    "--cache_missing_ttl_ms",
    "1",
    "--stale_limit_ms",
    "3600000",
)


@contextmanager
def running(ground: Ground, folder: Path, *flags: str) -> Iterator[tuple[Server, Path]]:
    """Run predictor and transformer over a copy of the store; give the transformer and where its store is."""
    store = shutil.copytree(ground.store, folder / "store")
    with (
        server("predictor", predictor_flags(ground.models), folder) as predictor,
        server("transformer", transformer_flags(store, predictor.http, *flags), folder) as transformer,
    ):
        wait_ready(transformer)
        yield transformer, store


@contextmanager
def away(store: Path) -> Iterator[None]:
    """Take a store away until the block ends."""
    store.rename(store.with_name("elsewhere"))
    yield
    store.with_name("elsewhere").rename(store)


def answer(of: Server) -> Said:
    """Ask for three payments and what became of them."""
    return infer(of.http, COLUMNS, OUTPUT, "row_status", Content_Type="application/json")


def until(of: Server, so: Callable[[Said], bool]) -> Said:
    """Ask again and again until it is so."""
    end, pause = time.monotonic() + WAIT_S, threading.Event()
    while not so(said := answer(of)):
        assert time.monotonic() < end, f"still {said.status} {said.body!r}"
        pause.wait(0.05)
    return said


def statuses(said: Said) -> set[str]:
    """Return what became of the rows, in one set."""
    return (
        {part for status in said.output("row_status") for part in status.split(", ")} if said.status == 200 else set()
    )


@pytest.mark.parametrize(("word", "more", "kind"), [("default", (), "default"), ("stale", CACHED, "stale")])
def test_it_is_answered_for_while_it_is_away(
    ground: Ground, tmp_path: Path, word: str, more: tuple[str, ...], kind: str
) -> None:
    with running(ground, tmp_path, "--on_store_failure", word, *more) as (transformer, store):
        before = answer(transformer)
        with away(store):
            meanwhile = until(transformer, lambda said: f"card_activity {kind}" in statuses(said))
            assert f"terminal_risk {kind}" in statuses(meanwhile)
            assert meanwhile.json["parameters"]["headrace_fallback_rows"] == 3
            assert ask(transformer.http, "GET", "/v2/health/ready").status == 200
            if word == "stale":
                assert meanwhile.output(OUTPUT) == pytest.approx(before.output(OUTPUT))
        back = until(transformer, lambda said: not any(kind in status for status in statuses(said)))
        assert (back.output(OUTPUT), statuses(back)) == (before.output(OUTPUT), statuses(before))
        told = ask(transformer.http, "GET", "/metrics").body.decode()
        assert f'headrace_rows_fallback_total{{group="card_activity",kind="{kind}",model_name="fraud"}}' in told


def test_by_default_requests_are_refused_while_it_is_away(ground: Ground, tmp_path: Path) -> None:
    with running(ground, tmp_path) as (transformer, store):
        with away(store):
            refused = until(transformer, lambda said: said.status == 503)
            assert "there is no store" in refused.error
        assert statuses(until(transformer, lambda said: said.status == 200)) == statuses(answer(transformer))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--on_store_failure", "stale"), "needs rows that are kept: set cache_entries above 0"),
        (("--on_store_failure", "cards=default"), "names group 'cards', needs one of card_activity, terminal_risk"),
        (("--cache_ttl_ms", "0"), "setting cache_ttl_ms is 0.0, needs more than 0"),
    ],
)
def test_a_setting_that_cannot_be_kept_stops_the_start(tmp_path: Path, flags: tuple[str, ...], message: str) -> None:
    start = transformer_flags(tmp_path / "store", "127.0.0.1:9", *flags)
    with pytest.raises(StackError) as failed, server("transformer", start, tmp_path):
        pass
    assert message in str(failed.value)
