"""`headrace pipeline bootstrap`: fill a store from history, then stream on without gap or overlap."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click

from feature_pipelines.bootstrap import Filled, fill
from feature_pipelines.engines import Job, Stop
from feature_pipelines.engines.local import batch_of, opened
from feature_pipelines.histories import files_of
from feature_pipelines.runner import Pipeline
from headrace.application import Application
from headrace.cli.console import APP, Step, console, refusals, step
from headrace.cli.metered import metered
from headrace.features.columns import NO_TIME
from headrace.features.instants import iso

JobOf = Callable[[Application, Mapping[str, Any]], Job]
Stopping = Callable[[], AbstractContextManager[Stop]]
_FOREIGN = ("engine", "options")  # options of `pipeline run` that are not for this
_HELP = """Fill a store from past events, then stream on from where they end.

The history may overlap with the source: what is in both counts once. A run that was interrupted is begun anew;
one that is complete goes on streaming.
"""


def made_from(run: click.Command, job_of: JobOf, stopping: Stopping) -> click.Command:
    """Return the command; how its source is read is said as for `run`, from whose options `job_of` gathers a job."""
    path = click.Path(path_type=Path)
    history = click.Option(["--history"], required=True, type=path, help="Past events: a file, a folder or a pattern.")
    offsets = click.Option(
        ["--offset-columns"], metavar="PARTITION,OFFSET", help="Columns of the history that say where an event lay."
    )
    reading = [param for param in run.params if isinstance(param, click.Option) and param.name not in _FOREIGN]

    def command(app: Application, history: Path, offset_columns: str | None, metrics: str, **given: Any) -> None:
        with refusals():
            job = job_of(app, {**given, "options": ()})
            _bootstrap(job, history, _pair(offset_columns), stopping, metrics)

    params: list[click.Parameter] = [click.Argument(["app"], type=APP), history, offsets, *reading]
    return click.Command("bootstrap", callback=command, params=params, help=_HELP)


def _bootstrap(
    job: Job, history: Path, offset_columns: tuple[str, str] | None, stopping: Stopping, metrics: str
) -> None:
    files_of(history)  # what is not there is said before a broker is waited for
    with opened(job, _say) as pipeline, metered(pipeline, metrics, _say):
        with step(f"fill {', '.join(group.name for group in pipeline.groups)} from {history.name}") as doing:
            filled = fill(pipeline, history, offset_columns=offset_columns, progress=doing.share, folder=job.store)
            doing.result = _said(filled, doing)
        for note in filled.notes:
            _say(note)
        for name, at in sorted(filled.offsets.items()):
            _say(f"{name} is read from offset {at:,}")
        with stopping() as stop, step(f"stream {pipeline.stream.name}") as doing:
            doing.total(pipeline.source.total or 0)
            doing.advance(pipeline.start().skipped)
            pipeline.run(batch_of(job), doing.advance, stop)
            doing.result = _streamed(pipeline)
    for reason, count in sorted(pipeline.report.reasons.items(), key=lambda item: -item[1]):
        _say(f"{count:,} dead letters: {reason}")


def _say(line: str) -> None:
    console.print(f"       {line}", soft_wrap=True)


def _pair(columns: str | None) -> tuple[str, str] | None:
    if not columns:
        return None
    names = [name.strip() for name in columns.split(",")]
    if len(names) != 2 or not all(names):
        raise ValueError(f"--offset-columns is {columns!r}, needs two columns: PARTITION,OFFSET")
    return names[0], names[1]


def _said(filled: Filled, doing: Step) -> str:
    until = "" if filled.until_ms == NO_TIME else f", up to {iso(filled.until_ms - 1)}"
    if filled.was_there:
        return f"the history was there{until}"
    keys = ", ".join(f"{count:,} keys of {name}" for name, count in filled.keys.items())
    return (
        f"{filled.events:,} events, {filled.events / doing.seconds:,.0f}/s; {filled.repeated:,} repeated; "
        f"{filled.dead:,} dead; {keys}{until}"
    )


def _streamed(pipeline: Pipeline) -> str:
    report = pipeline.report
    return (
        f"{report.events:,} events; {report.in_history:,} in the history already; {report.duplicates:,} repeated; "
        f"{report.dead:,} dead"
    )
