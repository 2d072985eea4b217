"""`headrace pipeline`: stream events into a store, and look at what is there."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from feature_pipelines.addresses import READING, client_settings, path_of
from feature_pipelines.dead_letters import DeadLetterFile
from feature_pipelines.engines import ENGINES, Job, Report, Stop, load_engine
from feature_pipelines.engines.local import batch_of, opened
from feature_pipelines.runner import BATCH
from headrace.application import Application
from headrace.cli import bootstrap, inspect, status
from headrace.cli.console import APP, DIRECTORY, FILE, Step, console, refusals, step, target
from headrace.cli.metered import metered

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@click.group("pipeline")
def command() -> None:
    """Stream events into stored features."""


command.add_command(inspect.command)
command.add_command(status.command)


@command.command("run")
@click.argument("app", type=APP)
@click.option("--source", required=True, help="Events: kafka://host:port/topic, or a .parquet, .csv or .jsonl file.")
@click.option("--store", required=True, type=DIRECTORY, help="The online store; made where there is none.")
@click.option("--topic", help="Which stream of the application the events are of (its first one by default).")
@click.option("--engine", type=click.Choice(list(ENGINES)), default="local", show_default=True, help="What folds them.")
@click.option("--dead-letters", default="", help="Where refused events go: a topic's address or a file.")
@click.option("--to-end", is_flag=True, help="Of a topic: be done at the end it has now, instead of never.")
@click.option(
    "--order", type=click.Choice(["time", "file"]), default="time", show_default=True, help="Order of a file."
)
@click.option("--format", default="json", show_default=True, help="What a topic's messages are: json or avro.")
@click.option("--schema", type=FILE, help="The Avro schema of the messages.")
@click.option("--registry", default="", help="The URL of the registry that has their Avro schemas.")
@click.option(
    "--group",
    help="The consumer group that shares the partitions (headrace-APP-STREAM and the store's own name by default); "
    "empty: no group, this process alone reads every partition there is now.",
)
@click.option(
    "--kafka", multiple=True, metavar="NAME=VALUE", help="A setting of the Kafka client; secrets go elsewhere."
)
@click.option(
    "--kafka-config", type=FILE, help="A file of such settings; HEADRACE_KAFKA_SASL_PASSWORD and the like too."
)
@click.option("--wait", default=60.0, show_default=True, help="Seconds to wait for a broker at the start.")
@click.option("--accept-gap", is_flag=True, help="Go on although the topic no longer holds events that were not read.")
@click.option("--batch", default=BATCH, show_default=True, type=click.IntRange(1), help="Most events of a transaction.")
@click.option("--durable/--fast", default=True, show_default=True, help="Whether commits survive a loss of power.")
@click.option(
    "--hopsworks/--no-hopsworks", default=None, help="Write every record to Hopsworks too, before it is committed."
)
@click.option("--metrics", metavar="HOST:PORT", help="Serve Prometheus metrics there.")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the engine.")
@click.pass_context
def run(context: click.Context, app: Application, engine: str, metrics: str, **_: object) -> None:
    """Fold events into the tiles of APP's groups.

    A run that was interrupted continues where the store stands: no event is lost, none is counted twice.
    """
    with refusals(), stopping() as stop:
        job = _job(app, context.params)
        title = f"{job.stream} into {', '.join(group.name for group in app.groups_of(job.stream))}"
        with step(title) as doing:
            report = _run(app, job, stop, doing, metrics) if engine == "local" else load_engine(engine).run(job, stop)
            rate = report.events / doing.seconds
            doing.result = (
                f"{report.events:,} events, {rate:,.0f}/s; {report.skipped:,} were there; "
                f"{report.duplicates:,} repeated; {report.dead:,} dead"
            )
    for reason, count in sorted(report.reasons.items(), key=lambda item: -item[1]):
        console.print(f"       {count:,} dead letters: {reason}", soft_wrap=True)
    if report.dead:
        console.print(
            f"       see {job.dead_letters or DeadLetterFile.beside(job.store, job.stream).path}", soft_wrap=True
        )


def _job(app: Application, given: Mapping[str, Any]) -> Job:
    """Gather a job from the options of the command that describe one."""
    kafka = {}
    if path_of(given["source"]) is None or path_of(given["dead_letters"]) is None:
        kafka = client_settings(given["kafka_config"], given["kafka"], os.environ)
    options = dict(_pair(text) for text in given["options"])
    named = {name: given[name] for name in (*READING, "batch", "hopsworks") if _is_said(name)}
    options |= {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in named.items()}
    if not given["durable"]:
        options["fast"] = "true"
    return Job(
        application=target(),
        stream=app.stream(given["topic"] or app.streams[0].name).name,
        source=given["source"],
        store=given["store"],
        dead_letters=given["dead_letters"],
        kafka=kafka,
        to_end=given["to_end"],
        options=options,
    )


def _is_said(option: str) -> bool:
    return click.get_current_context().get_parameter_source(option) != ParameterSource.DEFAULT


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise ValueError(f"an option of the engine is {text!r}, needs NAME=VALUE")
    return name, value


def _run(app: Application, job: Job, stop: Stop, doing: Step, metrics: str) -> Report:
    """Run a job in this process, showing how far it is."""
    with opened(job, say, stop) as pipeline, metered(pipeline, metrics, say):
        if absent := getattr(pipeline.source, "absent", ()):
            say(f"{Path(job.source).name} has no {', '.join(absent)}: null in every event")
        doing.total(pipeline.source.total or 0)
        doing.advance(pipeline.start().skipped)
        return pipeline.run(batch_of(job), doing.advance, stop)


def say(line: str) -> None:
    """Print one line for the person who started the command."""
    console.print(f"       {line}", soft_wrap=True)


@contextmanager
def stopping() -> Iterator[Stop]:
    """Turn the first SIGINT or SIGTERM into a wish to stop, which a run grants between two batches."""
    asked: list[int] = []
    before = {sign: signal.signal(sign, lambda number, _: asked.append(number)) for sign in _SIGNALS}
    try:
        yield lambda: bool(asked)
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


command.add_command(bootstrap.made_from(run, _job, stopping))
