"""`headrace model versions, promote, rollback, remove, config`: which version of a model is served, and how."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import orjson

from headrace.cli.console import FILE, console
from headrace.cli.model_folder import MODEL
from headrace.runtime import Runtime, RuntimeRefused
from predictor import versions
from predictor.manifest import CANDIDATE, PRODUCTION, SIGNATURE, ModelRefused
from predictor.pbtxt import written
from predictor.triton import ACCELERATORS
from predictor.verified import Model, read_version, verified

#: Of every command that writes: the directory's signature would no longer hold.
KEY = click.option(
    "--key", type=FILE, help="The private key that signed the model, to sign it again; without it a signature goes."
)

UNSIGNED = f"{SIGNATURE} is gone, since it no longer holds: sign the model again"


@contextmanager
def refused() -> Iterator[None]:
    """Turn the refusal of a model into one line and exit code 1."""
    try:
        yield
    except ModelRefused as said:
        raise click.ClickException(str(said)) from said


@click.command("versions")
@click.argument("model", type=MODEL)
@click.option("--json", "as_json", is_flag=True, help="Print them for programs, with whole fingerprints.")
def list_versions(model: Path, as_json: bool) -> None:
    """Print the versions in the MODEL directory, their aliases, whether they are served, and their metrics."""
    with refused():
        found = verified(model)
    if as_json:
        click.echo(orjson.dumps(_told(found), option=orjson.OPT_INDENT_2).decode())
        return
    for number, version in sorted(found.manifest.versions.items()):
        aliases = ", ".join(alias for alias, at in found.aliases.items() if at == number) or "-"
        served = "served" if number in found.served else "kept"
        metrics = ", ".join(
            f"{key} {value:.4g}" for key, value in sorted(version.metrics.items()) if isinstance(value, int | float)
        )
        console.print(
            f"{number:>4}  {aliases:22}  {served:6}  {version.fingerprint[:16]}  {metrics}".rstrip(), soft_wrap=True
        )


@click.command("promote")
@click.argument("model", type=MODEL)
@click.argument("version", default=CANDIDATE)
@click.option(
    "--as",
    "alias",
    type=click.Choice([PRODUCTION, CANDIDATE]),
    default=PRODUCTION,
    show_default=True,
    help="What the version becomes.",
)
@KEY
def promote(model: Path, version: str, alias: str, key: Path | None) -> None:
    """Make VERSION of the MODEL directory, a number or an alias, production; the candidate unless one is given.

    A version that cannot be run is refused, and what is production stays.
    """
    with refused():
        before = read_version(model, _which(version))
        _run(before, before.number(_which(version)))
        number = (versions.promote if alias == PRODUCTION else versions.nominate)(model, _which(version), key)
    console.print(f"version {number} of {before.name} is {alias}{_was(before, alias)}", soft_wrap=True)
    _say_views(before, number)
    say_unsigned(before, key)


@click.command("rollback")
@click.argument("model", type=MODEL)
@KEY
def rollback(model: Path, key: Path | None) -> None:
    """Make the version production again that was it before; a second rollback undoes the first."""
    with refused():
        before = verified(model)
        number, former = versions.roll_back(model, key)
    console.print(f"version {number} of {before.name} is {PRODUCTION} again, was {former}")
    _say_views(before, number)
    say_unsigned(before, key)


@click.command("remove")
@click.argument("model", type=MODEL)
@click.argument("version")
@KEY
def remove(model: Path, version: str, key: Path | None) -> None:
    """Remove VERSION, a number or an alias, from the MODEL directory; production cannot be removed."""
    with refused():
        before = verified(model)
        number = versions.remove(model, _which(version), key)
    console.print(f"version {number} of {before.name} is removed")
    say_unsigned(before, key)


@click.command("config")
@click.argument("model", type=MODEL)
@click.option("--accelerator", type=click.Choice(["none", *ACCELERATORS]), help="What runs the model on a GPU.")
@click.option("--instances", type=int, help="Instances of the model per device.")
@click.option("--threads", type=int, help="Threads of one run on the processor.")
@click.option("--max-batch-size", type=int, help="The most rows of a batch, and of a request.")
@click.option("--preferred-batch-size", type=int, multiple=True, help="Rows to join requests to; may be given again.")
@click.option("--queue-delay-us", "max_queue_delay_us", type=int, help="How long a batch waits for more, microseconds.")
@click.option("--queue-size", "max_queue_size", type=int, help="How many requests may wait; others are turned away.")
@click.option("--queue-timeout-us", type=int, help="How long a request may wait in the queue, microseconds.")
@KEY
def config(model: Path, key: Path | None, accelerator: str | None, **given: Any) -> None:
    """Print Triton's configuration of the MODEL directory; with options, write it anew first."""
    changed = {name: value for name, value in given.items() if value not in (None, ())}
    if accelerator is not None:
        changed["accelerator"] = "" if accelerator == "none" else accelerator
    with refused():
        found = verified(model)
        if changed:
            try:
                serving = replace(found.manifest.serving, **changed)
            except ValueError as unfit:
                raise click.UsageError(str(unfit)) from unfit
            versions.serve_as(model, serving, key)
        click.echo(written(verified(model).config), nl=False)
    if changed:
        say_unsigned(found, key)


def _told(model: Model) -> dict[str, Any]:
    versions = {
        str(number): {"fingerprint": one.fingerprint, "metrics": one.metrics, "trained_on": one.trained_on}
        for number, one in sorted(model.manifest.versions.items())
    }
    aliases = dict(model.aliases)
    return {
        "name": model.name,
        "aliases": aliases,
        "served": model.served,
        "signed": model.signed,
        "versions": versions,
    }


def _which(version: str) -> int | str:
    return int(version) if version.isascii() and version.isdecimal() else version


def _run(model: Model, number: int) -> None:
    try:
        runtime = Runtime.of(model.models[number])
    except RuntimeRefused as wrong:
        raise ModelRefused(f"version {number} of model {model.name!r} cannot be run: {wrong}") from wrong
    if runtime.fingerprint != model.of(number).fingerprint:
        raise ModelRefused(
            f"version {number} of model {model.name!r} has fingerprint {runtime.fingerprint!r} in its file and "
            f"{model.of(number).fingerprint!r} in its manifest"
        )


def _was(before: Model, alias: str) -> str:
    return f", was {before.aliases[alias]}" if alias in before.aliases else ""


def _say_views(before: Model, number: int) -> None:
    was, now = before.of().fingerprint, before.of(number).fingerprint
    if was != now:
        console.print(
            f"it was trained on view {now[:16]}, version {before.production} on {was[:16]}: roll out its transformer "
            "with it",
            soft_wrap=True,
        )


def say_unsigned(before: Model, key: Path | None) -> None:
    """Say that a signature is gone, where the model had one and no key signed it again."""
    if before.signed and key is None:
        console.print(UNSIGNED, soft_wrap=True)


COMMANDS = (list_versions, promote, rollback, remove, config)
