"""`headrace manifests lint` and `rules`: what is wrong with manifests, by which rule, why, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import click
import orjson

from headrace.cli.console import DIRECTORY, console, refusals


@click.command("lint")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--crds", type=DIRECTORY, help="CustomResourceDefinitions: a folder; by default HEADRACE_SPECS/kserve-crds."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def lint(path: Path, crds: Path | None, as_json: bool) -> None:
    """Look for mistakes in PATH: a kustomization's folder, a YAML file, a folder of either, or - for standard input.

    Exit code 1 where there are any, 2 where PATH cannot be looked at. Objects are held against the schemas of their
    kinds, then against the rules that `headrace manifests rules` lists.
    """
    with _unlooked(), refusals(), _installed():
        from headrace.manifests.linting import lint as find
        from headrace.manifests.linting import sets_of
        from headrace.manifests.schemas import default_crds

        given = crds or default_crds()
        reports = [find(each, given) for each in sets_of(path)]
    if as_json:
        click.echo(orjson.dumps({"crds": str(given or ""), "sets": [each.as_dict() for each in reports]}))
    else:
        for report in reports:
            _print(report)
        if given is None:
            _say("no CustomResourceDefinitions: name a folder of them by --crds, or by HEADRACE_SPECS")
    raise SystemExit(1 if any(report.findings for report in reports) else 0)


@click.command("rules")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def rules(as_json: bool) -> None:
    """List the rules that manifests are held against: their names, what follows from a mistake, and the fix."""
    from headrace.manifests.rulebook import EVERY_RULE

    if as_json:
        click.echo(orjson.dumps([{"rule": each.name, "why": each.why, "fix": each.fix} for each in EVERY_RULE]))
        return
    for each in EVERY_RULE:
        console.print(each.name, style="bold", markup=False)
        _say(f"why  {each.why}")
        _say(f"fix  {each.fix}")


def _print(report: Any) -> None:
    count = len(report.findings)
    console.print(
        f"{report.name}: {report.objects} objects, {count or 'no'} finding{'' if count == 1 else 's'}",
        style="red" if count else "green",
        markup=False,
        soft_wrap=True,
    )
    if report.unchecked:
        kinds = (f"{kind} x{times}" for kind, times in sorted(report.unchecked.items()))
        _say(f"no schema here of {', '.join(kinds)}: held against the rules alone")
    for (file, owner), group in groupby(report.findings, lambda each: (each.file, each.object)):
        console.print(f"\n{owner}  in {file}", style="bold", markup=False, soft_wrap=True)
        for each in group:
            _say(f"{each.rule}  at {each.path}")
            _say(f"  {each.found}: {each.why}")
            _say(f"  fix: {each.fix}")


def _say(line: str) -> None:
    console.print(f"  {line}", markup=False, soft_wrap=True)


class _NothingSeen(click.ClickException):
    exit_code = 2  # 1 means that there are findings


@contextmanager
def _unlooked() -> Iterator[None]:
    try:
        yield
    except click.ClickException as refused:
        raise _NothingSeen(refused.message) from refused


@contextmanager
def _installed() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as absent:
        if (absent.name or "").partition(".")[0] not in ("jsonschema", "referencing", "kubernetes_validate"):
            raise
        said = f"{absent.name} is not installed, checking manifests needs it: pip install 'headrace[manifests]'"
        raise click.ClickException(said) from absent
