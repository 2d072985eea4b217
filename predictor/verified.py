"""Reading a model directory: all of it is compared with its manifest before any of it is used.

A directory is replaced by exchanging it whole, so one that changes while it is read is read again;
what is handed on is one directory's content, never parts of two.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from predictor.directory import check_kinds, check_names, files_in, read_checked
from predictor.manifest import (
    ALIASES,
    CONFIG,
    MANIFEST,
    PRODUCTION,
    SIGNATURE,
    Manifest,
    ModelManifest,
    ModelRefused,
    Which,
    number_of,
    onnx_file,
    parse_aliases,
    parse_manifest,
)
from predictor.pbtxt import read
from predictor.signing import check_signature
from predictor.triton import unfit


@dataclass(frozen=True, slots=True)
class Model:
    """A model directory that was found whole: its manifest, its aliases, and the bytes of the versions asked for."""

    manifest: ModelManifest
    aliases: Mapping[str, int]
    config: Mapping[str, Any] = field(repr=False)
    signed: bool
    models: Mapping[int, bytes] = field(repr=False)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.manifest.name

    @property
    def production(self) -> int:
        """The version that transformers ask for."""
        return self.aliases[PRODUCTION]

    @property
    def served(self) -> list[int]:
        """The versions that servers load."""
        return self.manifest.served(self.aliases)

    def number(self, which: Which = None) -> int:
        """Return the number of a version; ModelRefused where there is none, with those there are."""
        return number_of(which, self.name, self.manifest.versions, self.aliases)

    def of(self, which: Which = None) -> Manifest:
        """Return what is said of a version; ModelRefused where there is none."""
        number = self.number(which)
        version = self.manifest.versions[number]
        return Manifest(
            name=self.name,
            version=number,
            fingerprint=version.fingerprint,
            columns=version.columns,
            outputs=version.outputs,
            files=self.manifest.files,
            metrics=version.metrics,
            reference=version.reference,
            trained_on=version.trained_on,
            config=dict(self.config),
        )


def verified(directory: Path | str, public_key: Path | str | None = None) -> Model:
    """Return a model with the bytes of every version that is served.

    With a public key the directory must be signed by it, all of it. Raises ModelRefused, with the
    reason, for a directory that is not there, half written, altered, not signed as it must be, or
    that holds files which are not listed, run code, or lead elsewhere.
    """
    return _read_whole(Path(directory).absolute(), public_key, lambda model: model.served)


def read_version(directory: Path | str, which: Which = None, public_key: Path | str | None = None) -> Model:
    """Return a model with the bytes of one version alone; raises ModelRefused as `verified` does."""
    return _read_whole(Path(directory).absolute(), public_key, lambda model: [model.number(which)])


def _read_whole(directory: Path, public_key: Path | str | None, kept: Callable[[Model], Collection[int]]) -> Model:
    while True:
        with _held(directory) as unchanged:
            try:
                return _read(directory, public_key, kept)
            except (ModelRefused, OSError) as refused:
                if not unchanged():
                    continue
                if isinstance(refused, ModelRefused):
                    raise
                raise ModelRefused(
                    f"model {directory.name!r} cannot be read: {refused.strerror}", "unreadable"
                ) from refused


def _read(directory: Path, public_key: Path | str | None, kept: Callable[[Model], Collection[int]]) -> Model:
    name = directory.name
    if not directory.is_dir():
        raise ModelRefused(f"model {name!r} is not in the repository: train one first", "absent")
    found = files_in(directory, name)
    if MANIFEST not in found:
        raise ModelRefused(f"model {name!r} has no {MANIFEST}: it is half written, or not one of ours", "incomplete")
    check_kinds(found, name)
    written = found[MANIFEST].read_bytes()
    manifest = parse_manifest(written, name)
    check_names(found, manifest.files, name)
    if public_key is not None:
        digests = {**manifest.files, MANIFEST: hashlib.sha256(written).hexdigest()}
        check_signature(directory, name, digests, public_key)
    model = _described(manifest, found, name)
    return _with_models(model, found, frozenset(kept(model)))


def _described(manifest: ModelManifest, found: Mapping[str, Path], name: str) -> Model:
    for needed in (CONFIG, ALIASES):
        if needed not in manifest.files:
            raise ModelRefused(f"model {name!r} does not list {needed}, needs it")
    texts = {inside: read_checked(found[inside], inside, manifest.files[inside], name) for inside in (CONFIG, ALIASES)}
    aliases = parse_aliases(texts[ALIASES], name, manifest.versions)
    try:
        config = read(texts[CONFIG].decode())
    except ValueError as wrong:  # a UnicodeDecodeError is one
        raise ModelRefused(f"{CONFIG} of model {name!r} cannot be read: {wrong}") from wrong
    if wrong_in_it := unfit(config, manifest.config(aliases)):
        raise ModelRefused(f"{CONFIG} of model {name!r} {wrong_in_it}")
    return Model(manifest, aliases, config, SIGNATURE in found, {})


def _with_models(model: Model, found: Mapping[str, Path], kept: Collection[int]) -> Model:
    manifest = model.manifest
    models: dict[int, bytes] = {}
    for number in manifest.versions:
        if onnx_file(number) not in manifest.files:
            raise ModelRefused(f"model {model.name!r} does not list {onnx_file(number)}, needs it")
    for inside, digest in manifest.files.items():
        content = read_checked(found[inside], inside, digest, model.name)
        models |= {number: content for number in kept if onnx_file(number) == inside}
    return Model(manifest, model.aliases, model.config, model.signed, models)


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
