"""`headrace compile`: make machine code before it is needed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from headrace.application import Application
from headrace.cli.console import APP, console, refusals
from headrace.features import Plan
from headrace.kept_loops import VARIABLE


@click.command("compile")
@click.argument("apps", type=APP, nargs=-1)
def command(apps: tuple[Application, ...]) -> None:
    """Compile every loop now, those of on-demand features of APPS too, so that no process has to when it starts.

    The code is kept where HEADRACE_LOOPS says, for every processor of this architecture; without it beside the
    sources, for this processor. An image of your own runs this when it is built.
    """
    from headrace.compiled import KEPT, compile_all  # half a second that nobody else waits for

    named = os.environ.get(VARIABLE)
    if named and Path(named).absolute() != KEPT:
        raise click.ClickException(f"{VARIABLE} names {named}, needs a folder that can be written to: nothing is kept")
    began = time.perf_counter()
    with refusals():
        compile_all()
        for app in apps:
            Plan.of(app.view).prepare()
    where = KEPT or "the cache of this checkout or user"
    console.print(f"compiled in {time.perf_counter() - began:.1f} s, kept in {where}", soft_wrap=True)
