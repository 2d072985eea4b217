"""Versions of a model and who asks for them: adding, promoting, rolling back, removing.

Every change writes the directory anew beside the old one, the files of the versions that stay linked
into it, and exchanges both. A change takes a signature away, since it no longer holds, unless the key is
given to sign anew: then there must be one that holds under that key first, or what somebody else altered
would get a good one. `sign` alone signs whatever lies there, and what is new is signed as it is written.

The aliases: `production` is what transformers ask for, `candidate` the one that may follow it, and
`previous` the one that was production before, which a rollback returns to. Servers load these three,
as far as they read as many columns and answer the same outputs as production.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from predictor.directory import check_onnx
from predictor.installing import link, put, replacing
from predictor.manifest import (
    ALIASES,
    CANDIDATE,
    CONFIG,
    MANIFEST,
    PREVIOUS,
    PRODUCTION,
    ModelManifest,
    ModelRefused,
    Version,
    Which,
    listed,
    number_of,
    onnx_file,
)
from predictor.pbtxt import written
from predictor.signing import public_half, write_signature
from predictor.triton import Serving, labels_file
from predictor.verified import Model, verified


@dataclass(slots=True)
class Draft:
    """A model directory about to be written."""

    name: str
    versions: dict[int, Version] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    serving: Serving = field(default_factory=Serving)
    labels: dict[str, str] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)  # file: SHA-256
    new: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Model) -> Draft:
        """Begin with what a model has."""
        manifest = model.manifest
        return cls(
            manifest.name,
            dict(manifest.versions),
            dict(model.aliases),
            manifest.serving,
            dict(manifest.labels),
            {inside: digest for inside, digest in manifest.files.items() if inside not in (CONFIG, ALIASES)},
        )

    @property
    def next(self) -> int:
        """The number after the highest there is."""
        return max(self.versions, default=0) + 1

    def number(self, which: Which) -> int:
        """Return the number of a version; ModelRefused where there is none."""
        return number_of(which, self.name, self.versions, self.aliases)

    def add(self, number: int, version: Version, model: bytes, promoted: bool) -> None:
        """Add a version; the first is production, a later one candidate unless it is promoted."""
        if number < 1:
            raise ModelRefused(f"version {number} of model {self.name!r} cannot be, needs a positive whole number")
        if number in self.versions:
            raise ModelRefused(f"model {self.name!r} has version {number} already, needs another number")
        inside = onnx_file(number)
        check_onnx(model, inside, self.name)
        self.versions[number], self.new[inside] = version, model
        if promoted or PRODUCTION not in self.aliases:
            self.promote(number)
        else:
            self.aliases[CANDIDATE] = number

    def promote(self, number: int) -> None:
        """Make a version production, and what was it previous."""
        if self.aliases.get(PRODUCTION) == number:
            raise ModelRefused(f"version {number} of model {self.name!r} is {PRODUCTION} already")
        if PRODUCTION in self.aliases:
            self.aliases[PREVIOUS] = self.aliases[PRODUCTION]
        self.aliases[PRODUCTION] = number
        if self.aliases.get(CANDIDATE) == number:
            del self.aliases[CANDIDATE]

    def remove(self, number: int) -> None:
        """Remove a version, with its aliases; production stays."""
        if self.aliases[PRODUCTION] == number:
            raise ModelRefused(
                f"version {number} of model {self.name!r} is {PRODUCTION}, needs another in its place first"
            )
        for inside in self.versions.pop(number).files:
            self.kept.pop(inside, None)
        self.aliases = {alias: at for alias, at in self.aliases.items() if at != number}

    def label(self, labels: Mapping[str, Sequence[str]]) -> None:
        """Give outputs their labels, one a line in a file beside the configuration."""
        for output, names in labels.items():
            self.labels[output] = labels_file(output)
            self.kept.pop(labels_file(output), None)
            self.new[labels_file(output)] = "".join(f"{name}\n" for name in names).encode()

    def write(self, fresh: Path, former: Path) -> None:
        """Write all files into an empty folder; those that were kept are links to the former directory's."""
        for inside in self.kept:
            link(former / inside, fresh / inside)
        manifest = ModelManifest(self.name, self.serving, self.labels, {}, self.versions)
        self.new[CONFIG] = written(manifest.config(self.aliases)).encode()
        self.new[ALIASES] = json.dumps(self.aliases).encode() + b"\n"
        for inside, content in self.new.items():
            put(fresh / inside, content)
        manifest.files.update(self.kept, **{i: hashlib.sha256(c).hexdigest() for i, c in self.new.items()})
        put(fresh / MANIFEST, manifest.written(self.aliases[PRODUCTION]))


@contextmanager
def changing(
    directory: Path,
    key: Path | str | None = None,
    *,
    create: bool = False,
    afresh: bool = False,
) -> Iterator[Draft]:
    """Give a draft of what a model directory holds; it is written and exchanged at the end, and signed with `key`.

    Raises ModelRefused where there is no model, unless it is to be created, one that is not whole, or one that has no
    signature which holds under `key`, unless it is signed afresh.
    """
    directory = directory.resolve()  # a link to it stays one
    with replacing(directory.parent, directory.name) as fresh:
        empty = create and not directory.exists()
        checked = None if afresh else key
        draft = Draft(directory.name) if empty else Draft.of(_found(directory, checked))
        yield draft
        draft.write(fresh, directory)
        if key is not None:
            write_signature(fresh, key)


def promote(directory: Path, which: Which, key: Path | str | None = None) -> int:
    """Make a version production and return its number; ModelRefused."""
    with changing(directory, key) as draft:
        number = draft.number(which)
        draft.promote(number)
    return number


def nominate(directory: Path, which: Which, key: Path | str | None = None) -> int:
    """Make a version the candidate and return its number; ModelRefused."""
    with changing(directory, key) as draft:
        number = draft.number(which)
        if draft.aliases[PRODUCTION] == number:
            raise ModelRefused(
                f"version {number} of model {draft.name!r} is {PRODUCTION}, needs another as {CANDIDATE}"
            )
        draft.aliases[CANDIDATE] = number
    return number


def roll_back(directory: Path, key: Path | str | None = None) -> tuple[int, int]:
    """Make the previous version production again and return the numbers of both, the new production first."""
    with changing(directory, key) as draft:
        before = draft.aliases[PRODUCTION]
        if PREVIOUS not in draft.aliases:
            raise ModelRefused(
                f"model {draft.name!r} has no {PREVIOUS} version, needs one to go back to: promote one of "
                f"{listed(draft.versions)}"
            )
        draft.promote(draft.aliases[PREVIOUS])
        return draft.aliases[PRODUCTION], before


def remove(directory: Path, which: Which, key: Path | str | None = None) -> int:
    """Remove a version that is not production and return its number; ModelRefused."""
    with changing(directory, key) as draft:
        number = draft.number(which)
        draft.remove(number)
    return number


def serve_as(directory: Path, serving: Serving, key: Path | str | None = None) -> None:
    """Write the configuration anew; ModelRefused."""
    with changing(directory, key) as draft:
        draft.serving = serving


def sign(directory: Path, key: Path | str) -> None:
    """Sign a model directory as it is, whoever signed it before; ModelRefused."""
    with changing(directory, key, afresh=True):
        pass


def _found(directory: Path, key: Path | str | None) -> Model:
    if key is None:
        return verified(directory)
    with public_half(key) as public:
        try:
            return verified(directory, public)
        except ModelRefused as refused:
            if refused.reason != "unsigned":
                raise
            raise ModelRefused(
                f"{refused}; nothing was changed: look at what lies there, then sign afresh what was looked at, with "
                "headrace model sign",
                refused.reason,
            ) from refused
