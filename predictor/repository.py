"""The model repository: a directory Triton serves as it is, and whose content can be trusted.

    DIR/<model>/config.pbtxt        Triton's configuration
    DIR/<model>/headrace.json       the manifest: view, outputs, checksums, metrics, reference histograms
    DIR/<model>/1/model.onnx        the model

A model appears whole or not at all: it is written into a sibling directory that is then
exchanged with the model's own. Every file but the manifest is listed in it with its
checksum, and a directory that differs from its manifest in anything is refused.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from headrace.features import FeatureView
from predictor.triton import model_config

MANIFEST, CONFIG, MODEL = "headrace.json", "config.pbtxt", "1/model.onnx"
#: Files that run code when they are loaded.
CODE = (".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle", ".pt", ".pth", ".mar", ".py", ".npy", ".so")
_EXCHANGE, _HERE = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of Linux


class ModelRefused(Exception):
    """The model must not be served; the text says what was found and what was needed."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a model says of itself; `files` maps every other file of the model to its SHA-256."""

    name: str
    version: str
    fingerprint: str
    columns: list[dict[str, Any]]
    outputs: list[dict[str, str]]
    files: dict[str, str]
    metrics: dict[str, Any]
    reference: dict[str, dict[str, list[float]]]
    trained_on: dict[str, Any]

    @property
    def column_names(self) -> list[str]:
        """The model's input columns, in order."""
        return [column["name"] for column in self.columns]


def write_model(
    repository: Path | str,
    name: str,
    model: bytes,
    *,
    fingerprint: str,
    columns: Sequence[Mapping[str, Any]],
    outputs: Sequence[str],
    version: str = "1",
    metrics: Mapping[str, Any] | None = None,
    reference: Mapping[str, Any] | None = None,
    trained_on: Mapping[str, Any] | None = None,
) -> Path:
    """Write an ONNX model whose outputs are FP32 [rows], replacing one of the same name; return its directory.

    Whoever reads meanwhile finds the former model or this one, and after a crash too.
    """
    repository = Path(repository)
    repository.mkdir(parents=True, exist_ok=True)
    _sweep(repository, name)
    fresh = Path(tempfile.mkdtemp(dir=repository, prefix=f".{name}."))
    fresh.chmod(0o755)
    config = model_config(name, columns, outputs, fingerprint)
    contents = {MODEL: model, CONFIG: config.encode()}
    for path, content in contents.items():
        _put(fresh / path, content)
    manifest = Manifest(
        name=name,
        version=version,
        fingerprint=fingerprint,
        columns=[dict(column) for column in columns],
        outputs=[{"name": output, "datatype": "FP32"} for output in outputs],
        files={path: hashlib.sha256(content).hexdigest() for path, content in contents.items()},
        metrics=dict(metrics or {}),
        reference=dict(reference or {}),
        trained_on=dict(trained_on or {}),
    )
    _put(fresh / MANIFEST, json.dumps(asdict(manifest), indent=1, allow_nan=False).encode())
    return _install(fresh, repository / name)


@contextmanager
def incoming(repository: Path | str, name: str) -> Iterator[Path]:
    """Give an empty folder for a model from elsewhere; what is there at the end replaces the model `name`.

    Raises ModelRefused, and leaves the former model as it is, for files that are not a whole model of this name.
    """
    repository = Path(repository)
    repository.mkdir(parents=True, exist_ok=True)
    _sweep(repository, name)
    with tempfile.TemporaryDirectory(dir=repository, prefix=f".{name}.") as folder:
        fresh = Path(folder) / name
        fresh.mkdir()
        yield fresh
        manifest = read_manifest(fresh)
        if manifest.name != name:
            raise ModelRefused(
                f"the files are of model {manifest.name!r}, needs {name!r}: it was registered as another"
            )
        for file in fresh.rglob("*"):
            _sync(file)
        _install(fresh, repository / name)


def read_manifest(directory: Path | str, view: FeatureView | None = None) -> Manifest:
    """Return the manifest of a model directory that is exactly as it was written.

    Raises ModelRefused for one that is missing, half written, altered, holds unlisted files
    or files that run code, or, where `view` is given, was trained on another view.
    """
    return read_model(directory, view)[0]


def read_model(directory: Path | str, view: FeatureView | None = None) -> tuple[Manifest, bytes]:
    """Return the manifest and the model's bytes: the very bytes whose checksum was compared.

    A model that is replaced while it is read is read again.
    """
    directory = Path(directory)
    while True:
        with _held(directory) as unchanged:
            try:
                return _read(directory, view)
            except (ModelRefused, OSError) as refused:
                if not unchanged():
                    continue
                if isinstance(refused, ModelRefused):
                    raise
                raise ModelRefused(f"model {directory.name!r} cannot be read: {refused.strerror}") from refused


def _read(directory: Path, view: FeatureView | None) -> tuple[Manifest, bytes]:
    if not directory.is_dir():
        raise ModelRefused(f"model {directory.name!r} is not in the repository: train one first")
    manifest = _parse(directory)
    contents = _checked(directory, manifest)
    if MODEL not in contents:
        raise ModelRefused(f"model {manifest.name!r} does not list {MODEL}, needs it")
    if view is not None and (unlike := difference(manifest, view)):
        raise ModelRefused(unlike)
    return manifest, contents[MODEL]


def difference(manifest: Manifest, view: FeatureView) -> str:
    """Say how a model's view differs from this one; empty where the fingerprints agree."""
    if manifest.fingerprint == view.fingerprint:
        return ""
    ours = view.describe()
    theirs = {column.get("name"): column for column in manifest.columns}
    said = [f"{c['name']} (not in the model)" for c in ours if c["name"] not in theirs]
    said += [f"{name} (not in the view)" for name in theirs if name not in view.names]
    for column in ours:
        other = theirs.get(column["name"], column)
        changed = [key for key in ("dtype", "missing", "source") if other.get(key) != column[key]]
        said += [
            f"{column['name']} ({key} {other.get(key)!r} in the model, {column[key]!r} in the view)" for key in changed
        ]
    if not said and manifest.column_names != list(view.names):
        moved = [a for a, b in zip(view.names, manifest.column_names, strict=True) if a != b]
        said = [f"order of {', '.join(moved)}"]
    return (
        f"model {manifest.name!r} was trained on view {manifest.fingerprint}, view {view.name!r} here is "
        f"{view.fingerprint}; they differ in {'; '.join(said) or 'a window or the source of a function'}: train again"
    )


def _parse(directory: Path) -> Manifest:
    path = directory / MANIFEST
    if not path.is_file():
        raise ModelRefused(f"model {directory.name!r} has no {MANIFEST}: it is half written, or not one of ours")
    try:
        written = json.loads(path.read_bytes())
    except ValueError as wrong:
        raise ModelRefused(f"model {directory.name!r} has a {MANIFEST} that is not JSON: it is half written") from wrong
    known = {field.name for field in fields(Manifest)}
    absent = sorted(known - set(written)) if isinstance(written, dict) else sorted(known)
    if absent or not isinstance(written["files"], dict) or not isinstance(written["columns"], list):
        needed = ", ".join(absent) or "files and columns as an object and a list"
        raise ModelRefused(f"model {directory.name!r} has a {MANIFEST} without {needed}, needs all of its fields")
    return Manifest(**{name: written[name] for name in known})


def _checked(directory: Path, manifest: Manifest) -> dict[str, bytes]:
    found = {p.relative_to(directory).as_posix(): p for p in sorted(directory.rglob("*")) if not p.is_dir()}
    found.pop(MANIFEST, None)  # gone where the directory is just being replaced
    for name, path in found.items():
        if path.suffix.lower() in CODE or path.read_bytes()[:1] == b"\x80":
            raise ModelRefused(
                f"model {manifest.name!r} holds {name}, a file that can run code when loaded, needs ONNX"
            )
    unlisted = sorted(set(found) - set(manifest.files))
    if unlisted:
        raise ModelRefused(f"model {manifest.name!r} holds {', '.join(unlisted)}, which its {MANIFEST} does not list")
    contents = {}
    for name, wanted in manifest.files.items():
        if name not in found:
            raise ModelRefused(f"model {manifest.name!r} lacks {name}, which its {MANIFEST} lists: it is half written")
        contents[name] = found[name].read_bytes()
        got = hashlib.sha256(contents[name]).hexdigest()
        if got != wanted:
            raise ModelRefused(f"{name} of model {manifest.name!r} has SHA-256 {got}, needs {wanted}: it was altered")
    return contents


@contextmanager
def _held(directory: Path) -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether the path still names the directory it named at first.

    The directory is held open meanwhile: once removed, its number must not be given to another.
    """
    try:
        handle = os.open(directory, os.O_RDONLY)
    except OSError:
        yield lambda: True
        return

    def unchanged() -> bool:
        try:
            return os.path.samestat(os.fstat(handle), directory.stat())
        except OSError:
            return False

    try:
        yield unchanged
    finally:
        os.close(handle)


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _install(fresh: Path, target: Path) -> Path:
    if not target.exists():
        return fresh.rename(target)
    if not _exchange(fresh, target):  # elsewhere than on Linux there is an instant without a model
        former = fresh.with_name(fresh.name + ".old")
        target.rename(former)
        fresh.rename(target)
        fresh = former
    shutil.rmtree(fresh)
    return target


def _exchange(one: Path, other: Path) -> bool:
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return rename is not None and rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0


def _sweep(repository: Path, name: str) -> None:
    """Remove what a writer that was killed left behind."""
    for left in repository.glob(f".{name}.*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
