"""`headrace model sign, verify`: whether a model directory is what the holder of a key has seen."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import click

from headrace.cli.console import DIRECTORY, FILE, console
from headrace.cli.model_folder import MODEL
from headrace.cli.model_versions import refused
from predictor import versions
from predictor.local_triton.cache import made
from predictor.local_triton.copying import copied
from predictor.manifest import MANIFEST, ModelRefused
from predictor.verified import verified

_ENDS = {signal.SIGTERM, signal.SIGINT}
_WAIT = "import signal; signal.sigwait({signal.SIGTERM, signal.SIGINT})"


@click.command("sign")
@click.argument("model", type=MODEL)
@click.option("--key", required=True, type=FILE, help="A private key, PEM, of P-256, P-384 or P-521.")
def sign(model: Path, key: Path) -> None:
    """Sign the MODEL directory as it is, once it proves whole; a key's password is read from the environment.

    The variable is HEADRACE_SIGNING_PASSWORD.
    """
    with refused():
        found = verified(model)
        versions.sign(model, key)
    console.print(
        f"model {found.name} is signed, versions {', '.join(map(str, sorted(found.manifest.versions)))}", soft_wrap=True
    )


@click.command("verify")
@click.argument("model", type=MODEL)
@click.option(
    "--public-key", type=FILE, help="The key that must have signed it; without it checksums alone are compared."
)
@click.option(
    "--into", type=DIRECTORY, help="Copy what holds into this repository, for a server that checks nothing itself."
)
@click.option("--stay", is_flag=True, help="Then wait for SIGTERM, as a container beside such a server has to.")
def verify(model: Path, public_key: Path | None, into: Path | None, stay: bool) -> None:
    """Compare the MODEL directory with its manifest, and with the signature of a key; exit 1 where they differ.

    The repository of --into appears whole or not at all, with this model alone; what is in it was checked there.
    """
    if stay:  # a container's first process is sent no signal that it neither blocks nor handles
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
    with refused():
        found = verified(_kept(model, into, public_key) if into else model, public_key)
    files = len(found.manifest.files)
    by = (
        f", signed by the key of {public_key.name}"
        if public_key
        else ", signature not looked at"
        if found.signed
        else ""
    )
    told = f"model {found.name} is whole: {files} files, production is version {found.production}{by}"
    console.print(f"{told}; copied into {into}" if into else told, soft_wrap=True)
    if stay:
        sys.stdout.flush()
        # An interpreter with nothing in it waits in a tenth of the memory.
        os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", _WAIT])


def _kept(model: Path, into: Path, public_key: Path | None) -> Path:
    model = model.absolute()

    def make(fresh: Path) -> None:
        copied(model.parent, model.name, fresh, public_key)

    kept = made(into.absolute(), make) / model.name
    # Of a container that was started over; anything else is not ours to serve.
    if not _same(kept / MANIFEST, model / MANIFEST):
        raise ModelRefused(f"{into} is there and holds something else: name a folder that is not there")
    return kept


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()


COMMANDS = (sign, verify)
