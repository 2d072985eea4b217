"""`headrace explain`: one past prediction, what it was made of, and where its time went."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import orjson
from rich.table import Table
from rich.text import Text

from headrace.cli.console import console, refusals
from headrace.cli.inspect import lasting
from headrace.predictions.log import SinkFailed
from headrace.predictions.opening import LogError, folder_of
from headrace.predictions.reading import Found, in_files, in_topic
from headrace.predictions.records import Described, Record, stands_for_missing

#: Where `headrace up` and `headrace demo` have their logs.
LOCAL = ".headrace/*/predictions"
_BAR = 40


@click.command("explain")
@click.argument("request_id")
@click.option("--log", help=f"Where predictions are logged: a folder, or kafka://host:port/topic; {LOCAL} by default.")
@click.option("--row", default=0, show_default=True, type=click.IntRange(0), help="Which row of the request.")
@click.option("--since", type=click.FloatRange(0), help="Look at the last so many hours alone.")
@click.option("--json", "as_json", is_flag=True, help="Print every row of the request as JSON.")
def command(request_id: str, log: str | None, row: int, since: float | None, as_json: bool) -> None:
    """Show the prediction that a request was answered with: its features, versions and stages.

    REQUEST_ID is the request's v2 id, its x-request-id or the id of its trace.
    """
    with refusals():
        found = _look(request_id, log, since)
        if not found.records:
            raise ValueError(_nothing(request_id, found))
        if row >= len(found.records):
            raise ValueError(f"request {request_id!r} has {len(found.records)} rows, needs --row below that")
    if as_json:
        click.echo(orjson.dumps(found.records, option=orjson.OPT_INDENT_2))
    else:
        _print(found.records, row, found.features)


def _look(wanted: str, log: str | None, hours: float | None) -> Found:
    since = None if hours is None else datetime.now(UTC) - timedelta(hours=hours)
    try:
        if log is not None and folder_of(log) is None:
            from headrace.predictions.kafka import client_settings

            return in_topic(log, client_settings(os.environ), wanted, since)
        folders = sorted(Path().glob(LOCAL)) if log is None else [folder_of(log)]
    except (LogError, SinkFailed) as refused:
        raise ValueError(str(refused)) from refused
    folders = [folder for folder in folders if folder is not None and folder.is_dir()]
    if not folders:
        where = f"at {log}" if log else f"at {LOCAL}: name one with --log, or run `headrace up` here"
        raise ValueError(f"there is no prediction log {where}")
    found = Found()
    for folder in folders:
        found = in_files(folder, wanted, since).beside(found)
        if found.records:
            break
    return found


def _nothing(wanted: str, found: Found) -> str:
    said = f"no prediction of request {wanted!r}: {found.looked_at:,} rows were looked at"
    if found.looked_at:
        said += f", answered from {found.oldest} to {found.newest}"
    if found.files:
        said += f", in {found.files:,} files"
    if found.unreadable:
        said += f"; {found.unreadable:,} files cannot be read"
    return f"{said}. The newest may not be written yet, older ones not kept any more"


def _print(records: list[Record], row: int, features: Mapping[str, Described]) -> None:
    record = records[row]
    of = f", row {row} of {len(records)}" if len(records) > 1 else ""
    said = Text(_printable(record["request_id"]), style="bold").append(
        f"{of}, answered at {record['at']}", style="not bold"
    )
    console.print(said, soft_wrap=True)
    about = [*_about(record), *((name, _number(value)) for name, value in record["outputs"].items())]
    width = max(len(name) for name, _ in about)
    for name, value in about:
        console.print(f"  {name:<{width}}  {_printable(str(value))}", soft_wrap=True, markup=False)
    console.print()
    console.print(_features(record, features))
    console.print()
    for line in waterfall(record["stage_ms"]):
        console.print(line, soft_wrap=True)


def _about(record: Record) -> Iterator[tuple[str, Any]]:
    for name in ("call_id", "trace_id"):
        if record.get(name) and record[name] != record["request_id"]:
            yield name, record[name]
    version = f" version {record['model_version']}" if record.get("model_version") else ""
    yield "model", f"{record['model']}{version}"
    yield "fingerprint", record["fingerprint"]
    yield "as of", record["as_of"]
    for name, value in record.get("keys", {}).items():
        if value is not None:
            yield name, value
    yield "row status", record["row_status"]


def _features(record: Record, known: Mapping[str, Described]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("feature", overflow="fold")
    table.add_column("value", justify="right", no_wrap=True)
    for heading in ("unit", "from", "age"):
        table.add_column(heading, overflow="fold")
    ages = record.get("age_ms", {})
    for name, value in record["features"].items():
        of = known.get(name, Described())
        missing = stands_for_missing(value, of, ages)
        shown = Text(f"{_number(value)}{' missing' if missing else ''}", style="yellow" if missing else "")
        age = ages.get(of.group)
        origin = of.group or of.source.partition(".")[0].partition(":")[0].replace("_", "-")
        table.add_row(name, shown, of.unit, origin, lasting(age) if age is not None else "")
    return table


def waterfall(stage_ms: Mapping[str, float | None]) -> Iterator[Text]:
    """Give a line for each stage, whose bar begins where the one before ended, and one for them together.

    >>> [line.plain.rstrip() for line in waterfall({"store": 1.0, "predict": 3.0})][0]
    'store         1.000 ms  ##########'
    """
    took = {name: value for name, value in stage_ms.items() if value is not None}
    total = sum(took.values())
    began = 0.0
    for name, value in took.items():
        start, end = (round(_BAR * edge / total) if total else 0 for edge in (began, began + value))
        bar = " " * start + "#" * max(1, end - start)
        line = Text(f"{name:<12} {value:6.3f} ms  ")
        yield line.append(bar, style="green")
        began += value
    yield Text(f"{'together':<12} {total:6.3f} ms")


def _number(value: float | str | None) -> str:
    if isinstance(value, str):
        return value
    return "-" if value is None else f"{value:.6g}"


def _printable(text: str) -> str:
    # Ids, keys and labels are others' words: none of them is to move a terminal's cursor.
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
