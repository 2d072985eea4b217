"""`headrace bench`: run a benchmark of the checkout that this command was installed from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

import headrace

#: The benchmarks lie beside the package in a checkout; a wheel does not have them.
_ROOT = Path(headrace.__file__).parents[1]


@click.command("bench", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.pass_context
def command(context: click.Context) -> None:
    """Measure Headrace beside its peers: `headrace bench NAME`, all benchmarks without a name.

    `headrace bench --list` prints the names and what each measures. Takes what `python -m benchmarks`
    takes, such as --quick. It runs in a checkout alone.
    """
    if not (_ROOT / "benchmarks/registry.py").is_file():
        raise click.ClickException(
            f"there are no benchmarks beside the package in {_ROOT}, needs a checkout of Headrace's source: "
            "clone it, run `make bench`, or install it with `pip install --editable '.[dev]'` and ask again"
        )
    asked = [sys.executable, "-m", "benchmarks", *context.args]
    sys.exit(subprocess.run(asked, cwd=_ROOT, check=False).returncode)
