"""`headrace manifests status`: where a set stands in a cluster, once or again and again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click
import orjson
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from headrace.cli.console import console
from headrace.cli.in_kubernetes import connected, in_kubernetes
from headrace.cli.inspect import lasting
from headrace.cli.status import again

if TYPE_CHECKING:
    from headrace.manifests.freshness import Freshness
    from headrace.manifests.status import Row, Status

_HEADINGS = ("component", "replicas", "ready", "canary", "view", "model", "freshness")
_STYLES = {"ready": "green", "waiting": "yellow", "failing": "red"}


@click.command("status")
@click.argument("name")
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.option("--every", default=2.0, show_default=True, type=click.FloatRange(0.1), help="Seconds between two looks.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@in_kubernetes
def status(name: str, watch: bool, every: float, as_json: bool, **access: Any) -> None:
    """Show what the set NAME runs in a cluster: replicas, canary, view, model, freshness.

    Ends with 0 where all is ready, with 1 where something is not.
    """
    from headrace.manifests.status import status as looked

    if watch and as_json:
        raise click.UsageError("--json prints once, needs to be asked for without --watch")
    with connected(**access) as cluster:
        if watch:
            again(lambda: drawn(looked(cluster, name, time.time())), lambda: time.sleep(every))
            return
        found = looked(cluster, name, time.time())
    if as_json:
        click.echo(orjson.dumps(found.as_dict(), option=orjson.OPT_INDENT_2))
    else:
        console.print(drawn(found))
    raise SystemExit(0 if all(row.state.value == "ready" for row in found.rows) else 1)


def drawn(of: Status) -> RenderableType:
    """Return a standing as it is shown in a terminal."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in _HEADINGS:
        table.add_column(heading, overflow="fold", justify="right" if heading in ("replicas", "freshness") else "left")
    for row in of.rows:
        table.add_row(*_cells(row))
    notes = [f"{row.component}: {row.said}" for row in of.rows if row.said]
    notes += [f"{row.component}: {row.freshness.why}" for row in of.rows if row.freshness and row.freshness.why]
    warning = [Text(of.disagreement, style="red")] if of.disagreement else []
    return Group(Text(_title(of), style="bold"), table, *map(Text, notes), *warning)


def _title(of: Status) -> str:
    last = of.revision
    if last is None:
        return f"{of.set} in {of.where}: no revision, it was applied by other means"
    why = f" ({last.reason})" if last.reason else ""
    ended = f"{last.outcome.value}{why}, begun {last.began_at}"
    return f"{of.set} in {of.where}: revision {last.number}, {last.cause}, {ended}"


def _cells(row: Row) -> tuple[Text, ...]:
    replicas = "-" if row.ready is None else f"{row.ready}/{row.wanted}" if row.wanted is not None else str(row.ready)
    state = Text("yes" if row.state.value == "ready" else row.state.value, style=_STYLES[row.state.value])
    said = (row.canary, row.fingerprint[:12], row.model_version)
    return Text(row.component), Text(replicas), state, *(Text(each or "-") for each in said), Text(_age(row.freshness))


def _age(of: Freshness | None) -> str:
    return "-" if of is None or of.age_s is None else lasting(int(of.age_s * 1000))
