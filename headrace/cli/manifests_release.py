"""`headrace manifests release`: what a cluster is to serve, from the model itself: its version, view and functions."""

from __future__ import annotations

import re
from pathlib import Path

import click

from headrace.application import Application
from headrace.cli.console import APP, FILE, console
from headrace.cli.model_folder import MODEL

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?")


@click.command("release")
@click.argument("app", type=APP)
@click.argument("model", type=MODEL)
@click.option("--uri", required=True, help="Where the cluster finds the repository, such as s3://bucket/fraud/3.")
@click.option("--version", "which", default="production", show_default=True, help="A number, or an alias.")
@click.option("--out", type=FILE, help="Write there, such as overlays/production/release/release.env.")
def release(app: Application, model: Path, uri: str, which: str, out: Path | None) -> None:
    """Print the release of the MODEL directory as manifests take it, once the model proves to be of APP's view.

    The URI is of the folder that the directory was copied into, and its last part names the release; nothing is
    copied here.
    """
    name = uri.rstrip("/").rpartition("/")[2]
    if not _NAME.fullmatch(name):
        raise click.ClickException(
            f"the URI ends in {name!r}, needs small letters, digits and '-' there: "
            "what belongs to a release is named after it"
        )
    from predictor.repository import ModelRefused, read_manifest

    try:
        manifest = read_manifest(model, app.view, int(which) if which.isdecimal() else which)
    except ModelRefused as refused:
        raise click.ClickException(str(refused)) from refused
    said = {
        "release": name,
        "model-uri": uri.rstrip("/"),
        "model-version": str(manifest.version),
        "fingerprint": manifest.fingerprint,
        "functions": app.view.functions,
    }
    text = "".join(f"{name}={value}\n" for name, value in said.items())
    if out is None:
        click.echo(text, nl=False)
        return
    out.write_text(text, "utf-8")
    console.print(f"version {manifest.version} of {manifest.name} in {out}", soft_wrap=True)
