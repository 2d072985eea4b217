"""headrace.json: what a model directory says of itself and of each of its versions.

It lists every other file with its SHA-256, so that a directory can be compared with it; it cannot
vouch for itself, which is what a signature is for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from predictor.triton import Serving, model_config

MANIFEST, CONFIG, ALIASES, SIGNATURE = "headrace.json", "config.pbtxt", "aliases.json", "model.sig"
PRODUCTION, CANDIDATE, PREVIOUS = "production", "candidate", "previous"
#: A version's number, an alias of one, or None for production.
Which = int | str | None


class ModelRefused(Exception):
    """The model must not be served; the text says what was found and what was needed.

    `reason` is a word for metrics: code, unlisted, incomplete, altered, unsigned, absent, unreadable, unfit.
    What no check foresaw is counted as a fault.
    """

    def __init__(self, text: str, reason: str = "unfit") -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a model: the view it was trained on, what it answers, how good it was; `files` names its own."""

    fingerprint: str
    columns: list[dict[str, Any]]
    outputs: list[dict[str, str]]
    metrics: dict[str, Any]
    reference: dict[str, dict[str, list[float]]]
    trained_on: dict[str, Any]
    files: list[str]

    def like(self, other: Version) -> bool:
        """Tell whether both can be loaded under one configuration: as many columns, the same outputs."""
        return len(self.columns) == len(other.columns) and self.outputs == other.outputs


@dataclass(frozen=True, slots=True)
class Manifest:
    """One version of a model with what holds for all of them; `files` maps every file of the directory to its SHA-256.

    `config` is the model's configuration as Triton's server gives it.
    """

    name: str
    version: int
    fingerprint: str
    columns: list[dict[str, Any]]
    outputs: list[dict[str, str]]
    files: dict[str, str]
    metrics: dict[str, Any]
    reference: dict[str, dict[str, list[float]]]
    trained_on: dict[str, Any]
    config: dict[str, Any] = field(repr=False)

    @property
    def column_names(self) -> list[str]:
        """The model's input columns, in order."""
        return [column["name"] for column in self.columns]


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """The whole of headrace.json."""

    name: str
    serving: Serving
    labels: dict[str, str]  # output: file
    files: dict[str, str]
    versions: dict[int, Version]

    def written(self, production: int) -> bytes:
        """Return the file; what production answers is said at its top, for those who read nothing else."""
        said = {
            "name": self.name,
            "outputs": self.versions[production].outputs,
            "serving": asdict(self.serving),
            "labels": self.labels,
            "files": self.files,
            "versions": {str(number): asdict(version) for number, version in sorted(self.versions.items())},
        }
        return json.dumps(said, indent=1, allow_nan=False).encode()

    def served(self, aliases: Mapping[str, int]) -> list[int]:
        """Return the versions that are loaded: the aliased ones that fit the configuration of production's."""
        production = self.versions[aliases[PRODUCTION]]
        return sorted({number for number in aliases.values() if self.versions[number].like(production)})

    def config(self, aliases: Mapping[str, int]) -> dict[str, Any]:
        """Return the configuration to write for these aliases."""
        number = aliases[PRODUCTION]
        version = self.versions[number]
        return model_config(
            self.name,
            version.columns,
            [output["name"] for output in version.outputs],
            version.fingerprint,
            production=number,
            versions=self.served(aliases),
            serving=self.serving,
            labelled=self.labels,
        )


def onnx_file(version: int) -> str:
    """Return where a version's model lies in the directory.

    >>> onnx_file(3)
    '3/model.onnx'
    """
    return f"{version}/model.onnx"


def parse_manifest(content: bytes, name: str) -> ModelManifest:
    """Return what headrace.json of the directory `name` says; raises ModelRefused."""
    said = _object(content, name, MANIFEST)
    _complete(said, ("name", "serving", "files", "versions"), name)
    for key in ("serving", "files", "versions"):
        if not isinstance(said[key], dict):
            raise ModelRefused(f"model {name!r} has a {MANIFEST} whose {key} is no object, needs one")
    try:
        serving = Serving(**said["serving"])
    except (TypeError, ValueError) as wrong:
        raise ModelRefused(f"model {name!r} has a {MANIFEST} whose serving cannot be read: {wrong}") from wrong
    versions = {_number(key, name, "version"): _version(value, name, key) for key, value in said["versions"].items()}
    labels = said.get("labels", {})
    return ModelManifest(said["name"], serving, labels if isinstance(labels, dict) else {}, said["files"], versions)


def parse_aliases(content: bytes, name: str, versions: Mapping[int, Version]) -> dict[str, int]:
    """Return the version of each alias; raises ModelRefused, for one of a version that is not there too."""
    aliases = {alias: _number(value, name, alias) for alias, value in _object(content, name, ALIASES).items()}
    if PRODUCTION not in aliases:
        raise ModelRefused(f"model {name!r} has no version in {PRODUCTION}, needs one in its {ALIASES}")
    for alias, number in aliases.items():
        if number not in versions:
            raise ModelRefused(f"model {name!r} has {alias} {number}, needs one of its versions {listed(versions)}")
    return aliases


def number_of(which: Which, name: str, versions: Mapping[int, Version], aliases: Mapping[str, int]) -> int:
    """Return the number of a version, production's for None; ModelRefused where there is none, with those there are."""
    number = which if isinstance(which, int) else aliases.get(which or PRODUCTION)
    if number is None or number not in versions:
        aliased = ", ".join(f"{alias} {at}" for alias, at in aliases.items())
        said = f"version {which}" if isinstance(which, int) else f"alias {which!r}"
        raise ModelRefused(f"model {name!r} has no {said}, needs one of {listed(versions)} ({aliased})")
    return number


def listed(versions: Mapping[int, Any]) -> str:
    """Return version numbers as a text.

    >>> listed({3: None, 1: None})
    '1, 3'
    """
    return ", ".join(map(str, sorted(versions))) or "none"


def _object(content: bytes, name: str, file: str) -> dict[str, Any]:
    try:
        said = json.loads(content)
    except ValueError as wrong:
        raise ModelRefused(f"{file} of model {name!r} is not JSON: it is half written", "incomplete") from wrong
    if not isinstance(said, dict):
        raise ModelRefused(f"{file} of model {name!r} is no object, needs all of its fields")
    return said


def _complete(said: Mapping[str, Any], needed: tuple[str, ...], name: str, of: str = "") -> None:
    if absent := sorted(set(needed) - set(said)):
        where = f" for version {of}" if of else ""
        raise ModelRefused(
            f"model {name!r} has a {MANIFEST} without {', '.join(absent)}{where}, needs all of its fields"
        )


def _version(said: Any, name: str, number: str) -> Version:
    known = tuple(one.name for one in fields(Version))
    _complete(said if isinstance(said, dict) else {}, known, name, number)
    kinds = {"fingerprint": str, "columns": list, "outputs": list, "files": list}
    for key in known:
        needed = kinds.get(key, dict)
        if not isinstance(said[key], needed):
            raise ModelRefused(
                f"model {name!r} has a {MANIFEST} whose {key} of version {number} is no {needed.__name__}, needs one"
            )
    for one in (*said["columns"], *said["outputs"]):
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            raise ModelRefused(f"model {name!r} has a {MANIFEST} with a column or output without a name, needs it")
    return Version(**{key: said[key] for key in known})


def _number(value: Any, name: str, of: str) -> int:
    if not str(value).isascii() or not str(value).isdecimal() or isinstance(value, bool) or int(value) < 1:
        raise ModelRefused(f"model {name!r} has {of} {value!r}, needs a positive whole number")
    return int(value)
