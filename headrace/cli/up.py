"""`headrace up`: predictor and transformer on this machine, until Ctrl-C."""

from __future__ import annotations

import time
from pathlib import Path

import click

from headrace.application import Application
from headrace.cli.console import APP as APPLICATION
from headrace.cli.console import DIRECTORY, console, target
from headrace.cli.stack import stack, terminated


@click.command("up")
@click.argument("app", type=APPLICATION)
@click.option("--store", type=DIRECTORY, help="The online store (the demo's by default).")
@click.option("--models", type=DIRECTORY, help="The model repository (the demo's by default).")
@click.option("--http-port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0 is any free port.")
@click.option("--grpc-port", default=8081, show_default=True, type=click.IntRange(0, 65535), help="0 is any free port.")
def command(app: Application, store: Path | None, models: Path | None, http_port: int, grpc_port: int) -> None:
    """Serve APP on loopback: a predictor, and a transformer in front of it."""
    home = Path(".headrace") / app.name
    store, models = store or home / "store", models or home / "models"
    for what, path in (("store", store), ("model repository", models)):
        if not path.is_dir():
            raise click.ClickException(
                f"there is no {what} at {path}: run `headrace demo {app.name}` first, or name one"
            )
    try:
        with (
            terminated(),
            stack(target(), app.name, models, store, home / "logs", http_port, grpc_port) as (predictor, transformer),
        ):
            console.print(f"transformer  http {transformer.http}  grpc {transformer.grpc}")
            console.print(f"predictor    http {predictor.http}  grpc {predictor.grpc}")
            console.print(f"logs         {home / 'logs'}; Ctrl-C stops both")
            while True:
                transformer.check()
                predictor.check()
                time.sleep(0.5)
    except KeyboardInterrupt:
        console.print("stopped")
