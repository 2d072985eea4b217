"""`headrace model sign, verify`: whether a model directory is what the holder of a key has seen."""

from __future__ import annotations

import os
from pathlib import Path

import click

from headrace.cli.console import FILE, console
from headrace.cli.model_folder import MODEL
from headrace.cli.model_versions import refused
from predictor import versions
from predictor.verified import verified

PASSWORD = "HEADRACE_SIGNING_PASSWORD"


@click.command("sign")
@click.argument("model", type=MODEL)
@click.option("--key", required=True, type=FILE, help="A private key, PEM, of P-256, P-384 or P-521.")
def sign(model: Path, key: Path) -> None:
    """Sign the MODEL directory as it is, once it proves whole; a key's password is read from the environment.

    The variable is HEADRACE_SIGNING_PASSWORD.
    """
    with refused():
        found = verified(model)
        versions.sign(model, key, os.environ.get(PASSWORD, ""))
    console.print(
        f"model {found.name} is signed, versions {', '.join(map(str, sorted(found.manifest.versions)))}", soft_wrap=True
    )


@click.command("verify")
@click.argument("model", type=MODEL)
@click.option(
    "--public-key", type=FILE, help="The key that must have signed it; without it checksums alone are compared."
)
def verify(model: Path, public_key: Path | None) -> None:
    """Compare the MODEL directory with its manifest, and with the signature of a key; exit 1 where they differ."""
    with refused():
        found = verified(model, public_key)
    files = len(found.manifest.files)
    by = (
        f", signed by the key of {public_key.name}"
        if public_key
        else ", signature not looked at"
        if found.signed
        else ""
    )
    console.print(
        f"model {found.name} is whole: {files} files, production is version {found.production}{by}", soft_wrap=True
    )


COMMANDS = (sign, verify)
