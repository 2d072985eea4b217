"""`headrace pipeline status`: where the pipelines of a store stand, once or again and again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import click
import orjson
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from feature_pipelines.addresses import SourceOptions, client_settings, open_source, path_of
from feature_pipelines.files import SourceError
from feature_pipelines.standing import Ends, GroupStanding, Standing, StreamStanding, standing
from headrace.application import Application
from headrace.cli.console import APP, DIRECTORY, FILE, console, now_ms, refusals
from headrace.cli.inspect import lasting
from headrace.features.instants import iso
from headrace.stores.embedded import EmbeddedStore

Ask = Callable[[], Ends]


@click.command("status")
@click.argument("app", type=APP)
@click.option("--store", required=True, type=DIRECTORY, help="The online store.")
@click.option(
    "--source", "sources", multiple=True, help="Also ask a broker how far it is: [STREAM=]kafka://host:port/topic."
)
@click.option(
    "--kafka", multiple=True, metavar="NAME=VALUE", help="A setting of the Kafka client; secrets go elsewhere."
)
@click.option(
    "--kafka-config", type=FILE, help="A file of such settings; HEADRACE_KAFKA_SASL_PASSWORD and the like too."
)
@click.option("--wait", "wait_s", default=10.0, show_default=True, help="Seconds to wait for a broker.")
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.option("--every", default=2.0, show_default=True, type=click.FloatRange(0.1), help="Seconds between two looks.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    app: Application,
    store: Path,
    sources: tuple[str, ...],
    kafka: tuple[str, ...],
    kafka_config: Path | None,
    wait_s: float,
    watch: bool,
    every: float,
    as_json: bool,
) -> None:
    """Show how far APP's streams were read into a store, what was refused, and how much is held."""
    if watch and as_json:
        raise click.UsageError("--json prints once, needs to be asked for without --watch")
    with refusals():
        try:
            with _asked(app, sources, kafka, kafka_config, wait_s) as ask:
                if watch:
                    again(lambda: drawn(look(app, store, ask)), lambda: time.sleep(every))
                else:
                    _show(look(app, store, ask), as_json)
        except SourceError:
            _show(look(app, store, dict), as_json)  # what the store itself says, before why there is no more
            raise


def _show(of: Standing, as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps(of.as_dict(), option=orjson.OPT_INDENT_2))
    else:
        console.print(drawn(of))


def look(app: Application, store: Path, ask: Ask) -> Standing:
    """Return where a store stands now; see `feature_pipelines.standing`."""
    with closing(EmbeddedStore(store, readonly=True)) as kept:
        return standing(app, kept, now_ms(), ask())


def again(draw: Callable[[], RenderableType], pause: Callable[[], None], on: Console = console) -> None:
    """Show what `draw` returns, and again after every pause, until interrupted."""
    with Live(draw(), console=on, auto_refresh=False) as live, suppress(KeyboardInterrupt):
        while True:
            pause()
            live.update(draw(), refresh=True)


@contextmanager
def _asked(
    app: Application, sources: tuple[str, ...], kafka: tuple[str, ...], config: Path | None, wait_s: float
) -> Iterator[Ask]:
    """Connect to the brokers and yield how to ask them for the ends of their topics."""
    with ExitStack() as connected:
        opened = {}
        settings = client_settings(config, kafka, os.environ) if sources else {}
        for source in sources:
            name, address = _named(app, source)
            options = SourceOptions(settings=settings, wait_s=wait_s)
            topic = open_source(address, app.stream(name), options)
            opened[name] = connected.enter_context(closing(topic))
        yield lambda: _ends(opened)


def _ends(opened: Mapping[str, Any]) -> Ends:
    """Return the ends of the topics whose broker answers now."""
    found = {}
    for name, topic in opened.items():
        with suppress(SourceError):
            found[name] = topic.ends()
    return found


def _named(app: Application, source: str) -> tuple[str, str]:
    """Return the stream a source is of, the one named like its topic or the first unless said, and its address."""
    name, sign, address = source.partition("=")
    if not sign:
        name, address = "", source
    if path_of(address) is not None:
        raise ValueError(f"--source is {source!r}, needs a broker to ask: kafka://host:port/topic")
    topic = address.rpartition("/")[2]
    known = [stream.name for stream in app.streams]
    return name or (topic if topic in known else known[0]), address


def drawn(of: Standing) -> RenderableType:
    """Return a standing as it is shown in a terminal."""
    title = Text(f"{of.application} in {of.store} at {iso(of.at_ms)}", style="bold")
    return Group(title, *(_stream(stream) for stream in of.streams), Text(), _groups(of.groups))


def _stream(of: StreamStanding) -> RenderableType:
    said = f"{of.events:,} events, {of.duplicates:,} repeated, {sum(of.refused.values()):,} dead"
    said += f", {of.in_history:,} in the history already" if of.in_history else ""
    if of.engine:
        said = f"streamed by {of.engine}, which has its positions and counts"
    newest = "no event yet"
    if of.newest_ms is not None and of.age_ms is not None:
        ago = f"{lasting(of.age_ms)} ago" if of.age_ms >= 0 else f"{lasting(-of.age_ms)} ahead of the clock"
        newest = f"newest event {iso(of.newest_ms)}, {ago}"
    lines: list[RenderableType] = [Text(), Text(f"{of.stream}: {said}"), Text(f"  {newest}")]
    if of.partitions:
        table = _table("partition", ("stands at", "end", "lag"))
        for part in of.partitions:
            table.add_row(part.partition, _count(part.at), _count(part.end), _count(part.lag))
        lines.append(table)
    lines += [Text(f"  {count:,} dead letters: {reason}") for reason, count in _most_first(of.refused)]
    lines += [Text(f"  see {letters.where}") for letters in of.dead_letters if letters.reach]
    return Group(*lines)


def _groups(groups: tuple[GroupStanding, ...]) -> Table:
    table = _table("group", ("keys", "tiles", "stored"))
    for group in groups:
        if group.declared:
            table.add_row(group.group, f"{group.keys:,}", f"{group.tiles:,}", _size(group.stored_bytes))
        else:
            table.add_row(group.group, "-", "-", f"not yet: run the pipeline of {group.stream}")
    return table


def _table(first: str, numbers: tuple[str, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(first, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right", overflow="fold")
    return table


def _most_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _size(size: float) -> str:
    units = ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:,.1f} {units[0]}"
