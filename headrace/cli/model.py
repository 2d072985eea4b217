"""`headrace model`: the versions of a model, and models between a registry and the repositories that are served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import orjson

from headrace.application import Application
from headrace.cli.console import APP, DIRECTORY, Step, console, step
from headrace.cli.in_cluster import connected, in_cluster
from headrace.cli.model_archive import command as archive
from headrace.cli.model_folder import MODEL
from headrace.cli.model_optimise import command as optimise
from headrace.cli.model_signing import COMMANDS as SIGNING
from headrace.cli.model_versions import COMMANDS as VERSIONS
from headrace.cli.model_versions import refused as refused
from headrace.hopsworks import registry
from headrace.hopsworks.session import Session
from predictor.repository import MANIFEST, ModelRefused, Which, alone, difference, incoming, read_manifest

_REGISTRIES = click.Choice(["hopsworks"])
_VERSION = click.IntRange(1)


@click.group("model")
def command() -> None:
    """Choose which version of a model is served, sign models, put them into a registry and fetch them."""


for further in (*VERSIONS, *SIGNING, archive, optimise):
    command.add_command(further)


@command.command("put")
@click.argument("model", type=MODEL)
@click.option("--to", type=_REGISTRIES, default="hopsworks", show_default=True, help="The registry.")
@in_cluster
def put(model: Path, to: str, **cluster: Any) -> None:
    """Register what is production in the MODEL directory of a repository under a new version there."""
    with refused(), connected(**cluster) as session, step("register the model") as doing:
        register(session, model, doing)


@command.command("list")
@click.argument("name")
@click.option("--from", "origin", type=_REGISTRIES, default="hopsworks", show_default=True, help="The registry.")
@in_cluster
def versions(name: str, origin: str, **cluster: Any) -> None:
    """Print the versions of model NAME, their aliases and metrics."""
    with connected(**cluster) as session:
        there = registry.versions_of(session, name)
        if not there:
            raise click.ClickException(f"there is no model {name!r} in project {session.settings.project}")
        for one in there:
            metrics = ", ".join(f"{key} {value:.4g}" for key, value in sorted(one.metrics.items()))
            console.print(f"{one.version:>4}  {one.alias or '-':16}  {metrics}", soft_wrap=True)


@command.command("alias")
@click.argument("name")
@click.option("--version", required=True, type=_VERSION, help="The version that gets it.")
@click.option("--as", "alias", required=True, help="The alias, for instance champion.")
@click.option("--to", type=_REGISTRIES, default="hopsworks", show_default=True, help="The registry.")
@in_cluster
def name_version(name: str, version: int, alias: str, to: str, **cluster: Any) -> None:
    """Give a version of model NAME an alias, and take it from the one that has it."""
    with connected(**cluster) as session:
        before = registry.set_alias(session, name, version, alias)
    console.print(f"{alias} is {name} version {version}{f', was {before}' if before else ''}")


@command.command("pull")
@click.argument("name")
@click.option("--version", type=_VERSION, help="The version to fetch; this or an alias must be given.")
@click.option("--alias", default="", help="The alias of the version to fetch.")
@click.option("--from", "origin", type=_REGISTRIES, default="hopsworks", show_default=True, help="The registry.")
@click.option("--into", required=True, type=DIRECTORY, help="The model repository.")
@click.option("--app", type=APP, help="Refuse a model that was not trained on this application's view.")
@in_cluster
def pull(
    name: str, version: int | None, alias: str, origin: str, into: Path, app: Application | None, **cluster: Any
) -> None:
    """Fetch a named version of model NAME into a repository, where it replaces the one that is served."""
    with refused(), connected(**cluster) as session, step(f"fetch {name}") as doing:
        found = registry.find_model(session, name, version, alias)
        fetch(session, found, into, app, doing)


def register(session: Session, model: Path, doing: Step, frame: Path | None = None, which: Which = None) -> int:
    """Register a version of a model that proves whole; returns its version there, which has none of the others.

    Raises ModelRefused and HopsworksError.
    """
    with alone(model, which) as one:
        _proved(one, None)
        manifest = orjson.loads((one / MANIFEST).read_bytes())
        version = registry.put_model(session, one, manifest, frame)
    doing.result = f"model {manifest['name']} version {version} in project {session.settings.project}"
    return version


def fetch(session: Session, found: registry.Version, into: Path, app: Application | None, doing: Step) -> None:
    """Fetch a version into a repository once it proves whole; raises ModelRefused and HopsworksError."""
    with incoming(into, found.name) as fresh:
        registry.download(session, found, fresh)
        fingerprint = _proved(fresh, app)
    doing.result = f"{found.name} version {found}, fingerprint {fingerprint[:16]}, in {into / found.name}"


def _proved(model: Path, app: Application | None) -> str:
    """Return the fingerprint of a model that can be served; raises ModelRefused."""
    from predictor.server import load

    manifest = read_manifest(model)
    if not manifest.fingerprint:
        raise ModelRefused(f"model {model.name!r} has no fingerprint, needs that of the view it was trained on")
    if app is not None and (unlike := difference(manifest, app.view)):
        raise ModelRefused(unlike)
    return load(model.parent, model.name).fingerprint
