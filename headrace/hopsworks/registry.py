"""Models in Hopsworks' model registry: put there under a new version, found by version or alias, fetched.

A model is a directory that predictors serve, with one version in it (`config.pbtxt`, `headrace.json`,
`aliases.json`, `1/model.onnx`), kept as it is, so what is fetched is checked against the manifest that
was written when it was trained. The registry also gets its input and output schema, its metrics, and
beside its files the frame it was trained on. There is no default version: which model is meant is
always said, by number or by alias. An alias is the value of the tag `headrace_alias` of a version; the
tag's schema, a string, is made once by an administrator of the cluster. Nothing here runs code that a
registry holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.hopsworks.session import HopsworksError, Session

ALIAS = "headrace_alias"
#: The frame's file beside a model's files.
FRAME = "training_frame.parquet"
_MODELS = "Models"
_NAME = re.compile(r"[a-zA-Z0-9_]+", re.ASCII)
_ALIAS = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,62}", re.ASCII)
#: Texts that the SDK reads from a tag as something else.
_READ_AS_JSON = frozenset({"true", "false", "null", "NaN", "Infinity"})
#: Seconds that a registered model may take to be found; the SDK looks every five.
_REGISTERED_S = 60


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a model in the registry; `of` is the SDK's own object."""

    name: str
    version: int
    alias: str
    metrics: Mapping[str, float]
    of: Any

    def __str__(self) -> str:
        return f"{self.version} ({self.alias})" if self.alias else str(self.version)


@dataclass(frozen=True, slots=True)
class _Schema:
    """What the registry shows of a model's input and output: the content of its `model_schema.json`."""

    columns: Sequence[Mapping[str, Any]]
    outputs: Sequence[Mapping[str, str]]

    def json(self) -> str:
        """Return the text of the file."""
        columns = [{"name": c["name"], "type": c["dtype"], "description": c["source"]} for c in self.columns]
        outputs = [{"name": o["name"], "type": "float32", "shape": ["-1"]} for o in self.outputs]
        said = {"input_schema": {"columnar_schema": columns}, "output_schema": {"tensor_schema": outputs}}
        return json.dumps(said, indent=2)


def put_model(session: Session, directory: Path, manifest: Mapping[str, Any], frame: Path | None = None) -> int:
    """Register a model's directory under a new version and return the version.

    `manifest` is the content of its `headrace.json`. `frame`, a file, is kept beside the model's
    files, not among them. Raises HopsworksError, for a directory of several versions too; what was begun
    is then removed by the SDK.
    """
    name = _checked(manifest["name"])
    numbers = list(manifest["versions"])
    if len(numbers) != 1:
        raise HopsworksError(f"the directory of model {name!r} has versions {', '.join(numbers)}, needs one alone")
    one = manifest["versions"][numbers[0]]
    trained = one["trained_on"]
    with session.quietly(f"register model {name}"):
        model = _registry(session).python.create_model(
            name,
            metrics={key: value for key, value in one["metrics"].items() if _is_number(value)},
            description=f"view {one['fingerprint']}, {trained.get('rows', 'unknown')} rows, ONNX",
            model_schema=_Schema(one["columns"], one["outputs"]),
        )
        try:
            version = model.save(str(directory.resolve()), _REGISTERED_S, keep_original_files=True).version
        except AttributeError as unseen:  # the SDK prints the address of a model that it did not find
            raise HopsworksError(
                f"model {name} was put into the registry and not found there within {_REGISTERED_S} s: "
                f"see whether it comes, with headrace model list {name}"
            ) from unseen
    if frame is not None:
        with session.quietly(f"keep the frame of model {name} version {version}, which is registered,"):
            session.project.get_dataset_api().upload(str(frame.resolve()), f"{_MODELS}/{name}/{version}")
    return int(version)


def versions_of(session: Session, name: str) -> list[Version]:
    """Return a model's versions in the registry, oldest first, none where there is no such model; HopsworksError."""
    with session.quietly(f"list the versions of model {_checked(name)}"):
        versions = [_version(found) for found in _registry(session).get_models(name)]
    return sorted(versions, key=lambda one: one.version)


def find_model(session: Session, name: str, version: int | None = None, alias: str = "") -> Version:
    """Return the version of a model that is named by its number or by its alias.

    Raises HopsworksError where there is none or more than one, where neither or both are given, and
    says what there is.
    """
    if version is not None and not alias:
        with session.quietly(f"find model {_checked(name)} version {version}"):
            found = _registry(session).get_model(name, version)
            if found is not None:
                return _version(found)
    there = versions_of(session, name)
    if not there:
        raise HopsworksError(
            f"there is no model {name!r} in the registry of project {session.settings.project}, "
            "needs one: headrace train --from hopsworks puts it there"
        )
    listed = ", ".join(map(str, there))
    if (version is None) == (not alias):
        given = "no version or alias was" if version is None else "both a version and an alias were"
        raise HopsworksError(f"{given} given, needs --version or --alias: of model {name!r} there is {listed}")
    meant = [one for one in there if alias and one.alias == alias]
    if not meant:
        said = f"alias {alias!r}" if alias else f"version {version}"
        raise HopsworksError(f"model {name!r} has no {said}, there is {listed}")
    if len(meant) > 1:
        raise HopsworksError(
            f"alias {alias!r} of model {name!r} is on versions {', '.join(str(one.version) for one in meant)}, "
            "needs it on one: set it again"
        )
    return meant[0]


def download(session: Session, version: Version, folder: Path) -> None:
    """Fetch the files of a version into an empty folder; HopsworksError."""
    with session.quietly(f"fetch model {version.name} version {version.version}"):
        version.of.download(local_path=str(folder.resolve()))


def set_alias(session: Session, name: str, version: int, alias: str) -> int | None:
    """Give a version an alias and take it from the one that had it, whose number is returned; HopsworksError.

    Between the two it is on both, and a model that is asked for by it is refused.
    """
    if not _ALIAS.fullmatch(alias) or alias in _READ_AS_JSON:
        raise HopsworksError(f"{alias!r} cannot be an alias, needs letters, digits, - and _, a letter first")
    meant = find_model(session, name, version)
    before = [one for one in versions_of(session, name) if one.alias == alias and one.version != version]
    with session.quietly(f"set tag {ALIAS} (its schema, a string, is made by an administrator)"):
        meant.of.add_tag(ALIAS, alias)
        for one in before:
            one.of.delete_tag(ALIAS)
    return before[-1].version if before else None


def _registry(session: Session) -> Any:
    # The SDK takes every refusal of this, that of the key too, for a data set that is not there.
    session.project.get_dataset_api().list(_MODELS, limit=1)
    return session.project.get_model_registry()


def _version(found: Any) -> Version:
    alias = str(found.get_tags().get(ALIAS, ""))
    return Version(found.name, int(found.version), alias, found.training_metrics or {}, found)


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise HopsworksError(f"{name!r} cannot be a model of the registry, needs letters, digits and underscores")
    return name


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
