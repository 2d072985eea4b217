"""`headrace hopsworks`: what an application is in a Hopsworks cluster, planned, applied and looked at."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table
from rich.text import Text

from headrace.application import Application
from headrace.cli import hopsworks_events, hopsworks_fill
from headrace.cli.console import APP, console, refusals
from headrace.cli.hopsworks_use import kafka, rondb
from headrace.cli.in_cluster import connected, in_cluster
from headrace.hopsworks.declared import Declared
from headrace.hopsworks.plan import Change, Plan, Step
from headrace.hopsworks.plan_found import found
from headrace.hopsworks.plan_shapes import GroupShape

#: How `plan` ends where something differs; click ends with 2 where it was asked wrongly.
DIFFERS = 3
_STYLES = {
    Change.CREATE: ("+", "green"),
    Change.APPEND: ("+", "green"),
    Change.DESCRIBE: ("~", "yellow"),
    Change.CONFLICT: ("!", "red"),
    Change.LEFT_OVER: ("-", "dim"),
    Change.NONE: ("=", "dim"),
}


@click.group("hopsworks")
def command() -> None:
    """Register an application in a Hopsworks cluster, and see what is there."""


command.add_command(hopsworks_events.command)
command.add_command(hopsworks_fill.command)


@command.command("plan")
@click.argument("app", type=APP)
@in_cluster
def plan(app: Application, **cluster: Any) -> None:
    """Show what differs between APP's declarations and a cluster, and change nothing.

    Ends with 0 where nothing is to be done, with 3 where something is, with 1 where a conflict stands in the way.
    """
    from headrace.hopsworks.plan import plan as planned

    with refusals():
        declared = Declared.of(app)
    with connected(**cluster) as session:
        steps = planned(session, declared)
    for step in steps.steps:
        _show(step)
    console.print(_summary(steps), soft_wrap=True)
    raise SystemExit(1 if steps.conflicts else DIFFERS if steps.to_do else 0)


@command.command("apply")
@click.argument("app", type=APP)
@click.option("--prune", is_flag=True, help="Also delete what APP declared once and does not declare any more.")
@in_cluster
def apply(app: Application, prune: bool, **cluster: Any) -> None:
    """Make a cluster have APP's feature groups, functions and feature views.

    What is there as declared is left alone; nothing is deleted without --prune, events never.
    """
    from headrace.hopsworks.apply import apply as applied

    with refusals():
        declared = Declared.of(app)
    with connected(**cluster) as session:
        steps = applied(session, declared, prune=prune, tell=_show_done)
    for step in () if prune else steps.left_over:
        _show(step)
    count = len(steps.to_do) + (len(steps.left_over) if prune else 0)
    console.print(f"applied {_changes(count)}" if count else "nothing to do: the cluster has what is declared")


@command.command("status")
@click.argument("app", type=APP)
@click.option("--store", "url", default="hopsworks://", show_default=True, help="How a transformer would read it.")
@in_cluster
def status(app: Application, url: str, **cluster: Any) -> None:
    """Show what a cluster has of APP, and whether its RonDB and its Kafka can be used from here.

    Ends with 1 where one of them cannot.
    """
    from headrace.hopsworks.plan import compared

    with refusals():
        declared = Declared.of(app)
    with connected(**cluster) as session:
        has = found(session, declared)
        where, version = session.settings.where, session.version
        used = [rondb(session, declared, app, url), kafka(session, app)]
    steps = compared(declared, has)
    console.print(f"{where}: Hopsworks {version}, project {session.settings.project}", soft_wrap=True)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("", "version", "columns", "functions", "online", "state"):
        table.add_column(heading, overflow="fold", justify="right" if heading in ("columns", "functions") else "left")
    for step in steps.steps:
        table.add_row(*_row(step))
    console.print(table)
    for each in used:
        console.print(Text(str(each), style="" if each.usable else "red"), soft_wrap=True)
    raise SystemExit(0 if all(each.usable for each in used) else 1)


def _row(step: Step) -> tuple[str, ...]:
    shape = step.kept
    if shape is None:
        return (step.name, str(step.version), "-", "-", "-", "absent")
    state = {Change.NONE: "as declared", Change.CONFLICT: "another", Change.LEFT_OVER: "left over"}
    said = state.get(step.change, "to be changed")
    if isinstance(shape, GroupShape):
        online = "yes" if shape.online else "no"
        return (step.name, str(step.version), str(len(shape.columns)), str(len(shape.functions)), online, said)
    return (step.name, str(step.version), str(len(shape.columns)), "", "", said)


def _show(step: Step) -> None:
    sign, style = _STYLES[step.change]
    console.print(Text(f"{sign} {step}", style=style), soft_wrap=True)


def _show_done(step: Step) -> None:
    if step.change is Change.LEFT_OVER:
        console.print(Text(f"- deleted {step.kind} {step.name} version {step.version}", style="red"), soft_wrap=True)
    else:
        _show(step)


def _summary(steps: Plan) -> str:
    if steps.conflicts:
        return "nothing can be applied before the conflicts are settled"
    if not steps.to_do:
        return "nothing to do: the cluster has what is declared"
    return f"{_changes(len(steps.to_do))} to apply: headrace hopsworks apply {steps.application}"


def _changes(count: int) -> str:
    return f"{count} change{'' if count == 1 else 's'}"
