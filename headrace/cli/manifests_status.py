"""`headrace manifests status` and `history`: where a set stands in a cluster, and what was applied of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click
import orjson
from rich.console import Console, Group, RenderableType
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
_WIDE = 1_000  # characters: who reads a file or a pipe wants lines whole
_COUNTS = ("replicas", "freshness", "revision")
_STYLES = {"ready": "green", "waiting": "yellow", "failing": "red"}


@click.command("status")
@click.argument("name", required=False)
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.option("--every", default=2.0, show_default=True, type=click.FloatRange(0.1), help="Seconds between two looks.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@in_kubernetes
def status(name: str | None, watch: bool, every: float, as_json: bool, **access: Any) -> None:
    """Show what the set NAME runs, or every set of the namespace: replicas, canary, view, model, freshness.

    Ends with 0 where all is ready, with 1 where something is not.
    """
    from headrace.manifests.status import statuses

    if watch and as_json:
        raise click.UsageError("--json prints once, needs to be asked for without --watch")
    with connected(**access) as cluster:
        if watch:
            again(lambda: _looked(lambda: statuses(cluster, name, time.time())), lambda: time.sleep(every))
            return
        found = statuses(cluster, name, time.time())
    if as_json:
        click.echo(orjson.dumps([each.as_dict() for each in found], option=orjson.OPT_INDENT_2))
    else:
        _print(_drawn_all(found))
    raise SystemExit(0 if all(row.state.value == "ready" for each in found for row in each.rows) else 1)


@click.command("history")
@click.argument("name")
@in_kubernetes
def history(name: str, **access: Any) -> None:
    """Show what was applied of the set NAME, the newest last: what `rollback --to` can go back to."""
    from headrace.manifests.revisions import Revisions

    with connected(**access) as cluster:
        found = Revisions(cluster, name).all
    table = _table(("revision", "begun", "cause", "outcome", "model", "view", "functions"))
    for each in found:
        serves = (each.serves.model_version, each.serves.fingerprint[:12], each.serves.functions[:12])
        told = (str(each.number), each.began_at, each.cause, each.outcome.value, *serves)
        table.add_row(*(Text(cell or "-") for cell in told))
    notes = [Text(f"{each.number}: {each.reason}") for each in found if each.reason]
    _print(Group(table, *notes) if found else Text(f"{name} has no revisions in {cluster}"))


def _print(shown: RenderableType) -> None:
    to = console if console.is_terminal else Console(width=_WIDE, highlight=False)
    to.print(shown)


def _looked(look: Callable[[], Sequence[Status]]) -> RenderableType:
    from headrace.manifests.cluster_faults import TimedOut, Unreachable

    try:
        return _drawn_all(look())
    except (TimedOut, Unreachable) as away:
        return Text(str(away), style="red")  # it is looked for again


def _drawn_all(of: Sequence[Status]) -> RenderableType:
    return Group(*(part for each in of for part in (drawn(each), Text())))


def drawn(of: Status) -> RenderableType:
    """Return a standing as it is shown in a terminal."""
    table = _table(_HEADINGS)
    for row in of.rows:
        table.add_row(*_cells(row))
    notes = [f"{row.component}: {row.said}" for row in of.rows if row.said]
    notes += [f"{row.component}: {row.freshness.why}" for row in of.rows if row.freshness and row.freshness.why]
    warning = [Text(of.disagreement, style="red")] if of.disagreement else []
    return Group(Text(_title(of), style="bold"), table, *map(Text, notes), *warning)


def _table(headings: Sequence[str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="fold", justify="right" if heading in _COUNTS else "left")
    return table


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
