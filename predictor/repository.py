"""The model repository: a directory Triton serves as it is, and whose content can be trusted.

    DIR/<model>/config.pbtxt         Triton's configuration; it names the versions that are served
    DIR/<model>/<output>_labels.txt  only where a model has labels
    DIR/<model>/headrace.json        the manifest: checksums, and of each version view, metrics, reference histograms
    DIR/<model>/aliases.json         which version is production, which candidate
    DIR/<model>/model.sig            a signature, where there is one
    DIR/<model>/1/model.onnx         a version of the model

A model appears whole or not at all: it is written into a sibling directory that is then
exchanged with the model's own. Every file but manifest and signature is listed in the manifest with
its checksum, and a directory that differs from its manifest in anything is refused.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headrace.features import FeatureView
from predictor.installing import replacing
from predictor.manifest import ALIASES as ALIASES
from predictor.manifest import CONFIG as CONFIG
from predictor.manifest import MANIFEST as MANIFEST
from predictor.manifest import PRODUCTION, Manifest, ModelRefused, Version, onnx_file
from predictor.manifest import Which as Which
from predictor.triton import Serving
from predictor.verified import Model as Model
from predictor.verified import read_version
from predictor.verified import verified as verified
from predictor.versions import Draft, changing


def write_model(
    repository: Path | str,
    name: str,
    model: bytes,
    *,
    fingerprint: str,
    columns: Sequence[Mapping[str, Any]],
    outputs: Sequence[str],
    version: int | None = None,
    promote: bool = False,
    labels: Mapping[str, Sequence[str]] | None = None,
    serving: Serving | None = None,
    metrics: Mapping[str, Any] | None = None,
    reference: Mapping[str, Any] | None = None,
    trained_on: Mapping[str, Any] | None = None,
    key: Path | str | None = None,
) -> Path:
    """Write an ONNX model whose outputs are FP32 [rows] as a new version; return the model's directory.

    The first version becomes production; a later one becomes candidate, unless it is to be promoted.
    Without a `version` it gets the next number; without `serving` the settings stay as they are.
    Whoever reads meanwhile finds the former directory or this one, and after a crash too. Raises
    ModelRefused where the directory is not whole or has the version already.
    """
    directory = Path(repository) / name
    with changing(directory, key, create=True) as draft:
        number = draft.next if version is None else version
        described = Version(
            fingerprint=fingerprint,
            columns=[dict(column) for column in columns],
            outputs=[{"name": output, "datatype": "FP32"} for output in outputs],
            metrics=dict(metrics or {}),
            reference=dict(reference or {}),
            trained_on=dict(trained_on or {}),
            files=[onnx_file(number)],
        )
        draft.serving = serving or draft.serving
        draft.label(labels or {})
        draft.add(number, described, model, promote)
    return directory


@contextmanager
def incoming(repository: Path | str, name: str) -> Iterator[Path]:
    """Give an empty folder for a model from elsewhere; what is there at the end replaces the model `name`.

    Raises ModelRefused, and leaves the former model as it is, for files that are not a whole model of this name.
    """
    with replacing(Path(repository), name) as fresh:
        yield fresh
        manifest = read_manifest(fresh)
        if manifest.name != name:
            raise ModelRefused(
                f"the files are of model {manifest.name!r}, needs {name!r}: it was registered as another"
            )


@contextmanager
def alone(directory: Path | str, which: Which = None) -> Iterator[Path]:
    """Give a directory that holds one version of a model, as its production, and nothing of the others.

    It is the model's own where that holds no other, with its signature; else a copy that is removed
    at the end, unsigned.
    """
    directory = Path(directory).absolute()
    model = read_version(directory, which)
    number = model.number(which)
    if set(model.manifest.versions) == {number}:
        yield directory
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / directory.name
        draft = Draft.of(model)
        draft.aliases = {PRODUCTION: number}
        for other in set(draft.versions) - {number}:
            draft.remove(other)
        draft.write(copy, directory)
        yield copy


def read_manifest(directory: Path | str, view: FeatureView | None = None, version: Which = None) -> Manifest:
    """Return what is said of a version in a model directory that is exactly as it was written.

    Raises ModelRefused for one that is missing, half written, altered, holds unlisted files
    or files that run code, or, where `view` is given, was trained on another view.
    """
    return read_model(directory, view, version)[0]


def read_model(
    directory: Path | str,
    view: FeatureView | None = None,
    version: Which = None,
    public_key: Path | str | None = None,
) -> tuple[Manifest, bytes]:
    """Return what is said of a version, production by default, and its bytes: those whose checksum was compared.

    `version` is a number or an alias; with a public key the directory must be signed by it. A model that is
    replaced while it is read is read again.
    """
    model = read_version(directory, version, public_key)
    manifest = model.of(version)
    if view is not None and (unlike := difference(manifest, view)):
        raise ModelRefused(unlike)
    return manifest, model.models[manifest.version]


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
