"""`headrace doctor`: whether this machine, a store and a model repository are fit to run."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from headrace.application import load_application
from headrace.cli.console import DIRECTORY, console
from headrace.stores.embedded import DATA_FILE, EmbeddedStore
from headrace.stores.online import StoreUnavailable
from predictor.local_triton.getting import TritonMissing, fit

NEEDED = ("numpy", "pyarrow", "lmdb", "onnxruntime", "httptools", "grpcio", "kserve")
EXTRA = {"train": ("torch", "onnx", "scikit-learn"), "triton": ("tritonclient",), "hopsworks": ("hopsworks",)}
Finding = tuple[str, str, str]  # ok, note or bad; what; what was found

_SIGNS = {"ok": "[green]ok  [/green]", "note": "[yellow]note[/yellow]", "bad": "[red]bad [/red]"}


@click.command("doctor")
@click.option("--app", "name", default="fraud", show_default=True, help="The application to check.")
@click.option("--store", type=DIRECTORY, help="The online store (the demo's by default).")
@click.option("--models", type=DIRECTORY, help="The model repository (the demo's by default).")
def command(name: str, store: Path | None, models: Path | None) -> None:
    """Check this machine, the packages, a store and a model; exit 1 if something needed is wrong."""
    home = Path(".headrace") / name
    findings = [
        *_machine(),
        *_packages(),
        *_ports(),
        *_application(name, store or home / "store", models or home / "models"),
    ]
    for level, what, found in findings:
        console.print(f"{_SIGNS[level]} {what}: {found}", soft_wrap=True)
    if any(level == "bad" for level, _, _ in findings):
        raise SystemExit(1)


def _machine() -> Iterator[Finding]:
    yield "ok" if sys.version_info >= (3, 11) else "bad", "python", sys.version.split()[0]
    yield "ok", "cores", str(os.cpu_count())
    free = shutil.disk_usage(".").free >> 20
    yield "ok" if free > 1024 else "note", "free disk", f"{free:,} MiB"
    try:
        yield "ok", "triton", f"can be run here, its models on Python {fit().version}"
    except TritonMissing as missing:
        yield "note", "triton", str(missing)


def _packages() -> Iterator[Finding]:
    for package in NEEDED:
        found = _version(package)
        yield "ok" if found else "bad", package, found or "not installed, needed: pip install headrace"
    for extra, packages in EXTRA.items():
        absent = [package for package in packages if not _version(package)]
        yield "note" if absent else "ok", f"extra {extra}", f"lacks {', '.join(absent)}" if absent else "installed"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _ports() -> Iterator[Finding]:
    for port in (8080, 8081):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                yield "ok", f"port {port}", "free"
            except OSError:
                yield "note", f"port {port}", "taken: `headrace up` needs other ports"


def _application(name: str, store: Path, models: Path) -> Iterator[Finding]:
    try:
        app = load_application(name)
    except ValueError as unknown:
        yield "bad", "application", str(unknown)
        return
    yield "ok", "application", f"{app.name}, {len(app.view.names)} columns, fingerprint {app.view.fingerprint[:16]}"
    with closing(EmbeddedStore(store, readonly=True)) as kept:
        why = kept.readiness(app.groups)
        try:
            held = ", ".join(f"{kept.size(group):,} keys of {group.name}" for group in app.groups)
        except StoreUnavailable:
            held = ""
    absent = not (store / DATA_FILE).exists()
    yield "note" if absent else "bad" if why else "ok", "store", why or held
    yield from _model(app.name, app.view.fingerprint, models)


def _model(name: str, fingerprint: str, models: Path) -> Iterator[Finding]:
    from predictor.repository import ModelRefused, read_manifest

    if not (models / name).is_dir():
        yield "note", "model", f"there is none at {models}: run `headrace train {name}` or the demo"
        return
    try:
        manifest = read_manifest(models / name)
    except ModelRefused as refused:
        yield "bad", "model", str(refused)
        return
    same = manifest.fingerprint == fingerprint
    yield (
        "ok" if same else "bad",
        "model",
        f"fingerprint {manifest.fingerprint[:16]}{'' if same else ', another view than ours'}",
    )
