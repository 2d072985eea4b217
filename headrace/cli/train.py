"""`headrace train`: a model from a training frame, in a repository that predictors serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from feature_pipelines.spines import read_table
from headrace.application import Application
from headrace.cli.console import APP, DIRECTORY, FILE, INSTANT, refusals, step
from headrace.cli.in_cluster import in_cluster
from headrace.cli.model_versions import refused
from headrace.cli.training import Served, print_trained, train_and_publish, training_rows
from predictor.triton import ACCELERATORS


@click.command("train")
@click.argument("app", type=APP)
@click.option("--frame", type=FILE, help="A training frame with the label, as `headrace backfill` writes it.")
@click.option(
    "--from", "origin", type=click.Choice(["hopsworks"]), help="Where events are read that a frame is made of."
)
@click.option("--since", type=INSTANT, help="Of --from: leave out events before this instant.")
@click.option("--until", type=INSTANT, help="Of --from: leave out events at or after this instant.")
@click.option(
    "--register/--no-register", default=True, show_default=True, help="Of --from: put the model into its registry."
)
@click.option("--out", required=True, type=DIRECTORY, help="The model repository.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same model.")
@click.option("--torchscript", type=FILE, help="Of --frame: write the model here as TorchScript too, for an archive.")
@click.option("--promote", is_flag=True, help="Make it production at once; a model's first version is so anyway.")
@click.option("--accelerator", type=click.Choice([*ACCELERATORS]), help="What runs the model on a GPU.")
@in_cluster
def command(
    app: Application,
    frame: Path | None,
    origin: str | None,
    since: int | None,
    until: int | None,
    register: bool,
    out: Path,
    seed: int,
    torchscript: Path | None,
    promote: bool,
    accelerator: str | None,
    **cluster: Any,
) -> None:
    """Train APP's model on a frame, export it to ONNX and prove that both answer alike.

    It becomes the next version in the repository: production where it is the first, else the candidate.
    With --from the frame is made of the events that a feature store has, point-in-time correct, and
    the model is registered there.
    """
    if (frame is None) == (origin is None):
        raise click.UsageError("needs a frame or where events come from, one of them: --frame FILE or --from hopsworks")
    if frame is None:
        if torchscript is not None:
            raise click.UsageError("--torchscript needs a frame: --frame FILE")
        from headrace.cli.train_from import train_from_hopsworks

        train_from_hopsworks(app, out, seed, since, until, register, cluster, Served(promote, accelerator))
        return
    with refusals(), refused(), step(f"train {app.name}") as doing:
        rows = training_rows(app, read_table(frame))
        served = Served(promote, accelerator)
        directory, _ = train_and_publish(app, *rows, out, doing, seed, torchscript=torchscript, served=served)
    print_trained(app, directory)
