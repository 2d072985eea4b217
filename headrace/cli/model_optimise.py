"""`headrace model optimise`: a variant of a model with fewer bits, written only where it is as good."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from feature_pipelines.spines import read_table
from headrace.application import Application
from headrace.cli.console import APP, FILE, console, refusals, step
from headrace.cli.model_folder import MODEL
from headrace.cli.model_versions import KEY, refused, say_unsigned
from headrace.cli.training import training_rows
from predictor.repository import read_manifest
from predictor.verified import verified

if TYPE_CHECKING:
    from predictor.optimise import Comparison


@click.command("optimise")
@click.argument("model", type=MODEL)
@click.option("--int8", "kind", flag_value="int8", help="Large products in eight bits: smaller and faster.")
@click.option("--fp16", "kind", flag_value="fp16", help="Weights kept in sixteen bits: half the size, as fast.")
@click.option("--app", type=APP, help="The application whose model it is; needed for --data.")
@click.option("--data", type=FILE, help="A frame with the label; its last fifth in time judges.")
@click.option("--version", "which", default="production", show_default=True, help="The version it is made of.")
@click.option(
    "--allowed-loss",
    default=0.005,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="The average precision that may be lost.",
)
@click.option("--promote", is_flag=True, help="Make the variant production at once.")
@KEY
def command(
    model: Path,
    kind: str | None,
    app: Application | None,
    data: Path | None,
    which: str,
    allowed_loss: float,
    promote: bool,
    key: Path | None,
) -> None:
    """Write a variant of a version in the MODEL directory as the next version, if it is as good.

    Prints size, speed and average precision before and after. A variant that loses more than is allowed is
    refused, and nothing is written. It becomes the candidate unless it is promoted. Without --data, rows are
    drawn from the model's reference histograms: they tell whether both rank alike.
    """
    if kind is None:
        raise click.UsageError("needs what to make of it: --int8 or --fp16")
    if data is not None and app is None:
        raise click.UsageError("--data needs --app, which says what its columns and its label are")
    from predictor.optimise import Rows, optimise

    with refusals(), refused(), step(f"{kind} variant of {model.name}") as doing:
        version = int(which) if which.isdecimal() else which
        if app is not None:
            read_manifest(model, app.view, version)
        before = verified(model)
        rows = None if data is None or app is None else Rows(*training_rows(app, read_table(data))[:2])
        found = optimise(model, kind, rows, which=version, allowed_loss=allowed_loss, promote=promote, key=key)
        number = max(verified(model).manifest.versions)
        drawn = "" if data else " drawn from its reference"
        doing.result = f"version {number}, judged on {found.rows:,} rows{drawn}, {found.positive:,} of them positive"
    console.print(_table(found, which, number))
    say_unsigned(before, key)
    if kind == "int8" and (accelerator := verified(model).manifest.serving.accelerator):
        console.print(f"{model.name} is served with {accelerator}: its int8 variant is for processors", soft_wrap=True)


def _table(found: Comparison, which: str, number: int) -> Table:
    from predictor.optimise import BATCHES

    table = Table("", which, f"{found.kind} {number}", "", box=None, header_style="dim")
    before, after = found.before, found.after
    table.add_row(
        "size", f"{before.size / 1024:,.1f} KiB", f"{after.size / 1024:,.1f} KiB", f"{found.smaller:.1f}x smaller"
    )
    for rows in BATCHES:
        took = (f"{side.microseconds[rows]:,.0f} us" for side in (before, after))
        table.add_row(f"a run of {rows}", *took, f"{found.faster(rows):.2f}x the speed")
    precision = (f"{side.average_precision:.4f}" for side in (before, after))
    table.add_row("average precision", *precision, f"{-found.loss:+.4f}")
    table.add_row("scores apart", "", f"{found.apart[0]:.1e} on average", f"{found.apart[1]:.1e} at most")
    return table
