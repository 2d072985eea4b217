"""`headrace manifests diff`, `apply` and `rollback`: a cluster made to hold what is declared, and back again."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from headrace.cli.console import console
from headrace.cli.in_kubernetes import connected, in_kubernetes

if TYPE_CHECKING:
    from headrace.manifests.comparing import Change
    from headrace.manifests.documents import Object
    from headrace.manifests.releasing import Released, Terms, Told
    from headrace.manifests.sets import Ref

#: How `diff` ends where something differs; click ends with 2 where it was asked wrongly.
DIFFERS = 3
_SIGNS = {"create": ("+", "green"), "change": ("~", "yellow"), "same": ("~", "yellow")}
_TARGET = click.argument("target", type=click.Path(path_type=Path))
_NAME = click.option("--name", help="What the set is called; its InferenceService's name otherwise.")
_WITHOUT = click.option(
    "--without",
    multiple=True,
    metavar="KIND",
    help="Leave out objects of a kind, which others make: Namespace, say; may be given again.",
)
_RELEASE = (
    click.option("--timeout", "timeout_s", type=click.FloatRange(0), default=600.0, show_default=True,
                 help="Seconds to wait for all to be ready."),
    click.option("--failing", "failing_s", type=click.FloatRange(0), default=120.0, show_default=True,
                 help="Seconds to let something fail before giving up."),
    click.option("--settle", "settle_s", type=click.FloatRange(0), default=5.0, show_default=True,
                 help="Seconds that a changed InferenceService must stay ready."),
    click.option("--force-conflicts", "force", is_flag=True, help="Take over fields that another manager set."),
    click.option("--prune", is_flag=True, help="Delete what left the set, once all is ready."),
    click.option("--no-wait", is_flag=True, help="Do not wait for all to be ready, and never go back."),
)  # fmt: skip


def released(command: Any) -> Any:
    """Give a command the options of a release, to be passed on to `_terms`."""
    for option in reversed(_RELEASE):
        command = option(command)
    return command


@click.command("diff")
@_TARGET
@_NAME
@_WITHOUT
@click.option("--brief", is_flag=True, help="Show which objects differ, not in what.")
@in_kubernetes
def diff(target: Path, name: str | None, without: tuple[str, ...], brief: bool, **access: Any) -> None:
    """Show what applying TARGET, an overlay's folder or a rendered file, would change; change nothing.

    Ends with 0 where nothing differs, with 3 where something does, with 1 where the cluster would refuse it.
    """
    from headrace.manifests.applying import Set, left_over, planned, refuse
    from headrace.manifests.revisions import Revisions

    with connected(**access) as cluster:
        of = Set.of(objects_at(target, without), cluster, name, access["namespace"])
        changes = planned(of)
        for change in changes:
            show(change)
            if not brief:
                console.print(_coloured(change.diff), soft_wrap=True, end="")
        gone = list(left_over(of, Revisions(of.cluster, of.name)))
        refuse([change for change in changes if change.refused], force=True)
    _show_left_over(gone)
    differs = sum(map(_differs, changes))
    console.print(f"{_counted(differs, 'object')} of {len(changes)} would change in {of.cluster}", soft_wrap=True)
    raise SystemExit(DIFFERS if differs or gone else 0)


@click.command("apply")
@_TARGET
@_NAME
@_WITHOUT
@click.option("--dry-run", is_flag=True, help="Let the cluster check all of it, and change nothing.")
@click.option(
    "--rollback-on-failure/--no-rollback-on-failure",
    "roll_back",
    default=True,
    show_default=True,
    help="Apply the former set again where the new one does not get ready.",
)
@released
@in_kubernetes
def apply(
    target: Path, name: str | None, without: tuple[str, ...], dry_run: bool, roll_back: bool, **options: Any
) -> None:
    """Make a cluster have TARGET, an overlay's folder or a rendered file, and wait until it is ready.

    The cluster checks every object before the first is applied. What was applied is kept as a revision.
    """
    from headrace.manifests.applying import Set, planned, refuse
    from headrace.manifests.releasing import release

    terms, access = _terms(roll_back=roll_back, **options)
    with connected(**access) as cluster:
        of = Set.of(objects_at(target, without), cluster, name, access["namespace"])
        console.print(f"applying {of.name}: {_counted(len(of.objects), 'object')} to {of.cluster}", soft_wrap=True)
        if dry_run:
            changes = planned(of)
            for change in changes:
                show(change)
            refuse(changes, force=terms.force)
            console.print("the cluster would take all of it; nothing was changed")
            return
        done = release(of, terms, _told())
    _show_end(done, of.name, terms)


@click.command("rollback")
@click.argument("name")
@click.option(
    "--to", type=click.IntRange(1), help="The revision to go back to; the former one that was ready otherwise."
)
@released
@in_kubernetes
def rollback(name: str, to: int | None, **options: Any) -> None:
    """Apply a former revision of the set NAME again, whole: model, view and functions together."""
    from headrace.manifests.releasing import roll_back
    from headrace.manifests.revisions import Revisions

    terms, access = _terms(roll_back=False, **options)
    with connected(**access) as cluster:
        history = Revisions(cluster, name)
        target = history.target(to)
        serves = history.last.serves if history.last else None
        console.print(
            f"rolling back {name} to revision {target.number}: {serves} becomes {target.serves}", soft_wrap=True
        )
        done = roll_back(history, target, terms, _told())
    _show_end(done, name, terms)


def objects_at(target: Path, without: Sequence[str] = ()) -> list[Object]:
    """Return the objects of a kustomization's folder, of a rendered file, or of standard input for `-`.

    Those of the kinds in `without` are left out. Raises RenderFailed, KubectlAbsent and DocumentsUnreadable, and
    ValueError where there is no object of such a kind.
    """
    from headrace.manifests.documents import objects_of, read_objects
    from headrace.manifests.rendering import render

    if str(target) == "-":
        found = objects_of(sys.stdin.read(), "standard input")
    else:
        found = render(target) if target.is_dir() else read_objects(target)
    kinds = {each["kind"] for each in found}
    if unknown := set(without) - kinds:
        known = ", ".join(sorted(kinds))
        raise ValueError(f"--without is {min(unknown)}, {target} has no such kind: it has {known}")
    return [each for each in found if each["kind"] not in without]


def show(change: Change) -> None:
    """Print one object and what is done to it; nothing where it stays as it is."""
    if not _differs(change):
        return
    sign, style = _SIGNS[change.action.value]
    held = "".join(f"; {field.field} is set by {field.manager}" for field in change.owned)
    console.print(Text(f"{sign} {change.ref}{held}", style=style), soft_wrap=True)


def _differs(change: Change) -> bool:
    return change.action.value != "same" or bool(change.owned)


def _terms(
    *,
    roll_back: bool,
    timeout_s: float,
    failing_s: float,
    settle_s: float,
    force: bool,
    prune: bool,
    no_wait: bool,
    **access: Any,
) -> tuple[Terms, dict[str, Any]]:
    from headrace.manifests.releasing import Terms
    from headrace.manifests.waiting import Patience

    if no_wait and prune:
        raise click.UsageError("--prune deletes once all is ready, needs to be asked for without --no-wait")
    patience = Patience(timeout_s, failing_s, settle_s)
    return Terms(force, prune, not no_wait, roll_back, patience), access


def _told() -> Told:
    from headrace.manifests.releasing import Told

    return Told(lambda line: console.print(Text(f"  {line}"), soft_wrap=True), show)


def _show_end(done: Released, name: str, terms: Terms) -> None:
    _show_left_over(done.left_over)
    if done.revision is None:
        console.print(f"nothing to do: {name} is as declared and ready", soft_wrap=True)
        return
    ready = "ready" if terms.wait else "applied, not waited for"
    changed = _counted(done.changed, "object")
    deleted = f", {done.deleted} deleted" if done.deleted else ""
    console.print(
        f"{name} is {ready}: revision {done.revision.number}, {done.revision.serves}, {changed} changed{deleted}",
        soft_wrap=True,
    )


def _show_left_over(refs: Sequence[Ref]) -> None:
    for ref in refs:
        console.print(Text(f"- {ref} left the set; --prune deletes it", style="dim"), soft_wrap=True)


def _coloured(lines: str) -> Text:
    styles = {"+": "green", "-": "red", "@": "cyan"}
    made = Text()
    for line in lines.splitlines():
        made.append(f"{line}\n", style=styles.get(line[:1], ""))
    return made


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
