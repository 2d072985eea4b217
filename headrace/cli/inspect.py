"""`headrace pipeline inspect`: a key's tiles, and what each window makes of them."""

from __future__ import annotations

import math
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

import click
import numpy as np
import orjson
from rich.bar import Bar
from rich.table import Table
from rich.text import Text

from headrace.application import Application
from headrace.cli.console import APP, DIRECTORY, console, now_ms, refusals
from headrace.features import DAY, HOUR, MINUTE, SECOND, Reading, WindowedGroup, explain
from headrace.features.columns import NO_TIME
from headrace.features.instants import epoch_ms, iso
from headrace.features.readings import Tile, WindowReading
from headrace.features.rows import nearest
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import LayoutMismatch, Lookup, StoreUnavailable, mismatch

_BAR = 8


@click.command("inspect")
@click.argument("app", type=APP)
@click.argument("group")
@click.option("--key", required=True, help="The key's value, such as a card's number.")
@click.option("--store", required=True, type=DIRECTORY, help="The online store.")
@click.option("--at", "instant", help="The instant to read at: ISO 8601 or epoch milliseconds; now by default.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every tile's start and end.")
def command(app: Application, group: str, key: str, store: Path, instant: str | None, as_json: bool) -> None:
    """Show the tiles of one key of APP's GROUP, which of them each window covers, and what they come to."""
    with refusals():
        of = _group(app, group)
        at = epoch_ms(instant) if instant else now_ms()
        if at == NO_TIME:
            raise ValueError(f"--at is {instant!r}, needs ISO 8601 or epoch milliseconds")
        wanted = key_of(app, of, key)
        with closing(EmbeddedStore(store, readonly=True)) as kept:
            reading = read(kept, of, wanted, at)
    if as_json:
        click.echo(orjson.dumps({"key": wanted.tolist()[0], **reading.as_dict()}, option=orjson.OPT_INDENT_2))
    else:
        times = {column.name for column in app.stream(of.stream).columns if column.dtype == "timestamp"}
        _print(of, key, reading, times)


def read(store: EmbeddedStore, group: WindowedGroup, key: np.ndarray, at_ms: int) -> Reading:
    """Return what a store holds of one key, [1], read at an instant.

    Raises StoreUnavailable where no pipeline wrote the group, LayoutMismatch where it was declared otherwise.
    """
    declared = store.declared()
    called = f"the store at {str(store.path)!r}"
    if group.name not in declared:
        held = ", ".join(sorted(declared)) or "none"
        raise StoreUnavailable(f"{called} holds no group {group.name!r}, it has {held}: run its pipeline first")
    if unlike := mismatch(group, declared[group.name], called):
        raise LayoutMismatch(unlike)
    return explain(group, store.records(Lookup(group, key)), at_ms)


def key_of(app: Application, group: WindowedGroup, text: str) -> np.ndarray:
    """Return a key as its stream declares it, [1]; ValueError where the text is none."""
    kind = app.stream(group.stream).column(group.key).dtype
    if kind == "string":
        return np.array([text], dtype=object)
    try:
        return np.array([int(text)], dtype=np.int64)
    except (ValueError, OverflowError) as wrong:
        raise ValueError(f"--key is {text!r}, needs {group.key} of group {group.name!r}: {kind}") from wrong


def _group(app: Application, name: str) -> WindowedGroup:
    known = [group.name for group in app.groups]
    if name not in known:
        raise ValueError(
            f"application {app.name!r} has no group {name!r}, needs one of {', '.join(known)}{nearest(name, known)}"
        )
    return app.view.group(name)


def _print(group: WindowedGroup, key: str, reading: Reading, times: Collection[str]) -> None:
    console.print(f"{group.name} of {group.key} {key} at {iso(reading.as_of_ms)}", style="bold", soft_wrap=True)
    if not reading.found:
        console.print("never seen: the store has no record of this key", soft_wrap=True)
    elif reading.newest_ms is not None:
        ago = lasting(abs(reading.as_of_ms - reading.newest_ms))
        side = "before" if reading.newest_ms <= reading.as_of_ms else "after"
        console.print(f"newest event {iso(reading.newest_ms)}, {ago} {side}", soft_wrap=True)
    if not reading.exact:
        off = "the head is off by up to a tile, and the tail by as much as that event is later"
        console.print(f"approximate: not after the newest event, so {off}", soft_wrap=True)
    for window in reading.windows:
        console.print()
        _print_window(window)
    for name, value in reading.last.items():
        said = iso(int(value)) if name in times and math.isfinite(value) else number(value)
        console.print(f"last {name}: {said}", soft_wrap=True)


def _print_window(window: WindowReading) -> None:
    delayed = f", delayed by {lasting(window.delay_ms)}" if window.delay_ms else ""
    said = ", ".join(f"{name} [bold]{number(value)}[/bold]" for name, value in window.values.items())
    console.print(f"[bold]{window.label}[/bold]: {said}", soft_wrap=True)
    covered = sum(tile.covered for tile in window.tiles)
    console.print(
        f"  {iso(window.from_ms)} to {iso(window.to_ms)}{delayed}: "
        f"{covered} (*) of the {len(window.tiles)} tiles kept, of {lasting(window.tile_ms)} each",
        soft_wrap=True,
        markup=False,
    )
    if window.tiles:
        console.print(_table(window))


def _table(window: WindowReading) -> Table:
    names = list(window.tiles[0].values)
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("", "from", "to", "events"):
        table.add_column(heading, no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    most = max(tile.values["count"] for tile in window.tiles)
    for tile in window.tiles:
        start, end = _edges(tile)
        bar = Bar(most, 0, tile.values["count"], width=_BAR, color="green" if tile.covered else "bright_black")
        mark = Text("*" if tile.covered else "")
        table.add_row(mark, start, end, bar, *(number(tile.values[name]) for name in names))
    return table


def _edges(tile: Tile) -> tuple[str, str]:
    """Return both ends of a tile, no longer than its length needs."""
    start, end = (iso(edge).rstrip("Z").replace("T", " ") for edge in (tile.start_ms, tile.end_ms))
    if (tile.end_ms - tile.start_ms) % SECOND == 0:
        start, end = start[:-4], end[:-4]
    return start, end[11:] if start[:10] == end[:10] else end[5:]


def number(value: float) -> str:
    """Return a value as a person reads it; a dash where it is missing."""
    return "-" if math.isnan(value) else f"{value:.6g}"


def lasting(ms: float) -> str:
    """Return a length of time in the largest unit that it is at least two of.

    >>> lasting(50_000), lasting(5_400_000), lasting(12)
    ('50 s', '90 min', '12 ms')
    """
    for unit, name in ((DAY, "days"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s")):
        if ms >= 2 * unit:
            return f"{round(ms / unit, 1):,g} {name}"
    return f"{ms:,.0f} ms"
