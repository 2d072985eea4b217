"""`headrace pipeline`: stream events into a store."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from feature_pipelines.dead_letters import DeadLetterFile
from feature_pipelines.runner import BATCH, Pipeline
from feature_pipelines.sources import FileSource
from headrace.application import Application
from headrace.cli.console import APP, DIRECTORY, FILE, console, now_ms, refusals, step
from headrace.stores.embedded import EmbeddedStore


@click.group("pipeline")
def command() -> None:
    """Stream events into stored features."""


@command.command("run")
@click.argument("app", type=APP)
@click.option("--source", required=True, type=FILE, help="Events: a .parquet, .csv or .jsonl file.")
@click.option("--store", required=True, type=DIRECTORY, help="The online store; made where there is none.")
@click.option("--topic", help="Which stream of the application the file holds (its first one by default).")
@click.option("--order", type=click.Choice(["time", "file"]), default="time", show_default=True, help="Replay order.")
@click.option("--batch", default=BATCH, show_default=True, type=click.IntRange(1), help="Events per transaction.")
@click.option("--dead-letters", type=FILE, help="Where refused events go (in the store's directory by default).")
@click.option("--durable/--fast", default=True, show_default=True, help="Wait for the disk at every commit, or not.")
def run(
    app: Application,
    source: Path,
    store: Path,
    topic: str | None,
    order: str,
    batch: int,
    dead_letters: Path | None,
    durable: bool,
) -> None:
    """Fold an event file into the tiles of APP's groups.

    A run that was interrupted continues where the store stands: no event is lost, none is counted twice.
    """
    with refusals():
        stream = app.stream(topic or app.streams[0].name)
        events = FileSource(source, stream, order=order)
        if events.absent:
            console.print(f"{source.name} has no {', '.join(events.absent)}: null in every event", soft_wrap=True)
        letters = DeadLetterFile(dead_letters) if dead_letters else DeadLetterFile.beside(store, stream.name)
        title = f"{stream.name} into {', '.join(group.name for group in app.groups_of(stream.name))}"
        with closing(EmbeddedStore(store, durable=durable)) as kept, step(title) as doing:
            pipeline = Pipeline(stream, app.groups_of(stream.name), events, kept, letters, now_ms)
            doing.total(events.total or 0)
            doing.advance(pipeline.start().skipped)
            report = pipeline.run(batch, doing.advance)
            rate = report.events / doing.seconds
            doing.result = (
                f"{report.events:,} events, {rate:,.0f}/s; {report.skipped:,} were there; {report.dead:,} dead"
            )
    for reason, count in sorted(report.reasons.items(), key=lambda item: -item[1]):
        console.print(f"       {count:,} dead letters: {reason}", soft_wrap=True)
    if report.dead:
        console.print(f"       see {letters.path}", soft_wrap=True)
