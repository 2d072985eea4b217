"""`headrace triton`: the Triton server for this machine, fetched once into the cache."""

from __future__ import annotations

import os
from pathlib import Path

import click

from headrace.cache_folder import cache_folder
from headrace.cli.console import DIRECTORY, console, step
from headrace.cli.stack import PREDICTORS
from predictor.local_triton.getting import AGE, Installed, TritonMissing
from predictor.local_triton.getting import get as got

#: The option of the commands that run a predictor on this machine.
in_predictor = click.option(
    "--predictor",
    type=click.Choice(list(PREDICTORS)),
    default="onnxruntime",
    show_default=True,
    help="What runs the model: triton is fetched once, and for laptops and CI only.",
)


@click.group("triton")
def command() -> None:
    """Fetch the Triton server that `--predictor triton` runs on this machine."""


@command.command("get")
@click.option("--cache", type=DIRECTORY, help="Where it is kept (HEADRACE_CACHE, or the user's cache).")
def get(cache: Path | None) -> None:
    """Fetch Triton and what its models need, 90 MB once, and say where they lie."""
    installed = fetch(cache or cache_folder(os.environ))
    console.print(f"server    {installed.server}", soft_wrap=True)
    console.print(f"packages  {installed.packages}", soft_wrap=True)
    console.print(f"python    {installed.python.library}/libpython{installed.python.version}.so.1.0", soft_wrap=True)


def prepare(predictor: str) -> None:
    """Fetch Triton where a command is to run it, and say how old it is; ClickException where it cannot be had."""
    if predictor != "triton":
        return
    fetch(cache_folder(os.environ))
    console.print(f"[yellow]note[/yellow]   {AGE}", soft_wrap=True)


def fetch(cache: Path) -> Installed:
    """Return what the cache holds, fetched where it does not; raises ClickException where it cannot be had."""
    fetched: list[str] = []
    try:
        with step("Triton") as doing:

            def say(what: str) -> None:
                doing.share(f"fetching {what}", len(fetched) / 2)
                fetched.append(what)

            installed = got(cache, say)
            doing.result = f"fetched {' and '.join(fetched)}" if fetched else "in the cache"
    except TritonMissing as missing:
        raise click.ClickException(str(missing)) from missing
    return installed
