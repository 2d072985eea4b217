"""`headrace model archive`: a model of the repository in the format of another server."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli.console import DIRECTORY, FILE, console, step
from headrace.cli.model_folder import MODEL
from headrace.cli.model_versions import refused
from predictor.manifest import PRODUCTION
from predictor.repository import read_model


@click.command("archive")
@click.argument("model", type=MODEL)
@click.argument("version", default=PRODUCTION)
@click.option("--torchserve", is_flag=True, required=True, help="Write what TorchServe loads; upstream ended it.")
@click.option(
    "--torchscript",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The model's TorchScript, as `headrace train --torchscript` writes it.",
)
@click.option("--out", required=True, type=DIRECTORY, help="Where model-store/ and config/ are written.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where TorchServe listens; 0.0.0.0 in a container."
)
@click.option("--public-key", type=FILE, help="The key that must have signed the model.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes that run the model.")
@click.option("--batch", default=16, show_default=True, type=click.IntRange(1), help="Requests that one takes at once.")
def command(
    model: Path,
    version: str,
    torchserve: bool,
    torchscript: Path,
    out: Path,
    host: str,
    public_key: Path | None,
    workers: int,
    batch: int,
) -> None:
    """Write VERSION of the MODEL directory as an archive; a number or an alias, production unless one is given.

    It is written once its TorchScript proves to answer as its ONNX does.
    """
    from predictor.torchscript import Script
    from predictor.torchserve import ENDED, Workers, write_archive

    console.print(f"[yellow]warning[/] {ENDED}.", soft_wrap=True)
    with refused(), step(f"archive {model.name}") as doing:
        which = int(version) if version.isascii() and version.isdecimal() else version
        manifest, content = read_model(model, version=which, public_key=public_key)
        script = Script.open(torchscript)
        written = write_archive(manifest, content, script, out, host=host, workers=Workers(workers, batch))
        doing.result = f"{written.path}, within {written.parity:.0e} of the repository's model"
    console.print(f"       sha256 {written.sha256}", soft_wrap=True)
