"""`headrace manifests`: render what a cluster is given, and find what is wrong with it before the cluster does."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import manifests_cluster, manifests_lint, manifests_release, manifests_status
from headrace.cli.console import FILE, console, refusals
from headrace.manifests.kubectl import fetch_kubectl
from headrace.manifests.rendering import render_text


@click.group("manifests")
def command() -> None:
    """Render, check and apply Kubernetes manifests."""


for _command in (
    manifests_lint.lint,
    manifests_lint.rules,
    manifests_release.release,
    manifests_cluster.diff,
    manifests_cluster.apply,
    manifests_status.status,
    manifests_cluster.rollback,
    manifests_status.history,
):
    command.add_command(_command)


@command.command("render")
@click.argument("overlay", type=click.Path(path_type=Path))
@click.option("--out", type=FILE, help="Write there instead of to the terminal.")
def render(overlay: Path, out: Path | None) -> None:
    """Print what kustomize makes of the OVERLAY's folder: the objects that a cluster would be given."""
    with refusals():
        text = render_text(overlay)
    if out is None:
        click.echo(text, nl=False)
        return
    out.write_text(text, "utf-8")
    console.print(f"rendered {overlay} into {out}", soft_wrap=True)


@command.command("kubectl")
def kubectl() -> None:
    """Fetch the kubectl that renders here, where none is installed; print its path."""
    with refusals():
        click.echo(str(fetch_kubectl()))
