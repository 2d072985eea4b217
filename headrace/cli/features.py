"""`headrace features`: look at what a model would read."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.table import Table

from headrace.application import Application
from headrace.cli.console import APP, DIRECTORY, console, now_ms, refusals
from headrace.features import Plan
from headrace.features.columns import NO_TIME
from headrace.features.instants import epoch_ms, iso
from headrace.features.rows import conform
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import Block, Lookup, StoreUnavailable


@click.group("features")
def command() -> None:
    """Look at stored and computed features."""


@command.command("get")
@click.argument("app", type=APP)
@click.option("--store", required=True, type=DIRECTORY, help="The online store.")
@click.option(
    "--key", "keys", multiple=True, metavar="NAME=VALUE", help="An entity's key, such as cc_num=4000000000000000."
)
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="A request column, such as amount=12.5.")
@click.option("--as-of", help="The instant to read at: ISO 8601 or epoch milliseconds; now by default.")
def get(app: Application, store: Path, keys: tuple[str, ...], given: tuple[str, ...], as_of: str | None) -> None:
    """Print the feature vector of one row: names, values, and what was missing."""
    with refusals():
        at = epoch_ms(as_of) if as_of else now_ms()
        if at == NO_TIME:
            raise ValueError(f"--as-of is {as_of!r}, needs ISO 8601 or epoch milliseconds")
        if any(pair.partition("=")[0] == app.view.time for pair in given):
            raise ValueError(f"--set {app.view.time} would say when, needs --as-of for that")
        columns = _columns(app, keys, given)
        when = {app.view.time: np.array([at])} if app.view.time in app.view.request_names else {}
        rows = conform(app.view, {**columns, **when}, at, partial=True)
        groups = [group for group in app.groups if group.key in columns]
        if not groups:
            raise ValueError(f"no key was given, needs --key of {' or '.join(sorted({g.key for g in app.groups}))}")
        with closing(EmbeddedStore(store, readonly=True)) as kept:
            found = asyncio.run(_read(kept, groups, columns, rows.as_of))
        blocks = {
            g.name: found[g.name].values if g.name in found else np.full((1, len(g.column_names)), np.nan)
            for g in app.groups
        }
        vector = Plan.of(app.view).compute(1, rows.columns, blocks)[0]
    console.print(_table(app, vector, found, at))
    console.print("missing (x): the model reads x in its place", soft_wrap=True)
    for name, block in found.items():
        if not block.exact[0]:
            console.print(f"{name} is approximate: {iso(at)} is not after its newest event", soft_wrap=True)


async def _read(store: EmbeddedStore, groups: list, columns: dict, as_of: np.ndarray) -> dict[str, Block]:  # type: ignore[type-arg]
    if why := store.readiness(groups):
        raise StoreUnavailable(why)
    blocks = await store.read([Lookup(group, columns[group.key]) for group in groups], as_of)
    return {group.name: block for group, block in zip(groups, blocks, strict=True)}


def _columns(app: Application, keys: tuple[str, ...], given: tuple[str, ...]) -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {}
    for pair in (*keys, *given):
        name, equals, value = pair.partition("=")
        if not equals or name not in app.view.request_names:
            raise ValueError(
                f"{pair!r} is not a column of a request, needs NAME=VALUE with {', '.join(app.view.request_names)}"
            )
        kind = app.view.request_column(name).dtype
        try:
            out[name] = np.array([_READ.get(kind, float)(value)], dtype=_HELD.get(kind, np.float64))
        except (ValueError, OverflowError) as wrong:
            raise ValueError(f"{name} is {value!r}, needs {kind}") from wrong
    return out


def _truth(text: str) -> float:
    words = {"true": 1.0, "1": 1.0, "false": 0.0, "0": 0.0}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


_READ: dict[str, Callable[[str], Any]] = {"int64": int, "bool": _truth, "string": str}
_HELD: dict[str, type] = {"int64": np.int64, "string": object}


def _table(app: Application, vector: np.ndarray, found: dict[str, Block], at: int) -> Table:
    table = Table(title=f"{app.view.name} at {iso(at)}, fingerprint {app.view.fingerprint[:16]}", title_justify="left")
    for heading in ("feature", "value", "unit", "from", "age"):
        table.add_column(heading, overflow="fold", justify="right" if heading in ("value", "age") else "left")
    for feature, value in zip(app.view.features, vector, strict=True):
        group = feature.source.partition(".")[0]
        said = f"missing ({feature.missing:g})" if math.isnan(value) else f"{value:.6g}"
        table.add_row(feature.name, said, feature.unit, group.partition(":")[0], _age(found.get(group)))
    return table


def _age(block: Block | None) -> str:
    if block is None:
        return ""
    if not block.found[0]:
        return "never seen"
    seconds = block.age_ms[0] / 1000
    return f"{seconds:,.1f} s" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
