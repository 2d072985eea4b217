"""Objects against the schemas of their kinds: given CustomResourceDefinitions made strict, and Kubernetes' own kinds.

Strict means that a field which a schema does not know is a mistake, where a cluster drops it in silence or, with
KServe's minimal definitions, keeps it. Rules that a definition writes in CEL are not run: only a cluster can.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

from headrace.manifests.documents import DocumentsUnreadable, Object, read_objects, yaml_files
from headrace.manifests.objects import look, mapping, mappings, misspelt

VARIABLE = "HEADRACE_SPECS"
_FOLDER = "kserve-crds"
_CHECKOUT = Path(__file__).parents[2]
_IGNORED = ("description", "default", "format", "example", "externalDocs")
_SCHEMA = "schema.openAPIV3Schema"
_KEYS = "x-kubernetes-list-map-keys"
_DEFAULTS = {"protocol": "TCP"}
_BITS = {"int32": 32, "int64": 64}
#: What is wrong at a path of an object: the path, and what was found.
Fault = tuple[str, str]


def default_crds(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder of CustomResourceDefinitions where none is given; None where there is none.

    It lies in the folder that HEADRACE_SPECS names, or in `shared/specs` beside the checkout.
    """
    named = environment.get(VARIABLE)
    folder = Path(named) / _FOLDER if named else _CHECKOUT.parent / "shared" / "specs" / _FOLDER
    if folder.is_dir():
        return folder
    if named:
        raise DocumentsUnreadable(f"{VARIABLE} is {named!r}, needs a folder that has {_FOLDER} in it")
    return None


class Definitions:
    """The CustomResourceDefinitions of a folder, read as far as they are asked for.

    One that says nothing of its kind's fields, as KServe's minimal ones, defines nothing here.
    """

    def __init__(self, folder: Path, kinds: Iterable[str]) -> None:
        """Read what defines these kinds; raises DocumentsUnreadable."""
        if not folder.is_dir():
            raise DocumentsUnreadable(f"{folder} is no folder, needs one of CustomResourceDefinitions")
        self._schemas: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
        wanted = [sign for kind in kinds for sign in (f"kind: {kind}", f'"kind": "{kind}"', f'"kind":"{kind}"')]
        for path in yaml_files(folder):
            if any(sign in _text(path) for sign in wanted):
                self._schemas |= _defined_in(path)

    def knows(self, owner: Object) -> bool:
        """Tell whether an object is of a kind that is defined here, in whatever version."""
        return _group_kind(owner) in self._schemas

    def faults(self, owner: Object) -> Iterator[Fault]:
        """Yield what is wrong with an object of a kind that is defined here."""
        versions = self._schemas[_group_kind(owner)]
        version = str(owner.get("apiVersion")).rpartition("/")[2]
        if version not in versions:
            yield "apiVersion", f"version {version!r} is not defined, {', '.join(sorted(versions))} is"
            return
        yield from errors(versions[version], owner)


@cache  # the one of InferenceService takes a second to read
def _defined_in(path: Path) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    out = {}
    for each in read_objects(path):
        spec = mapping(each.get("spec")) if each["kind"] == "CustomResourceDefinition" else {}
        versions = {
            str(version.get("name")): strict(schema, top=True)
            for _, version in mappings(spec.get("versions"))
            if version.get("served", True) and _says_something(schema := mapping(look(version, _SCHEMA)))
        }
        if versions:
            out[str(spec.get("group")), str(look(spec, "names.kind"))] = versions
    return out


def _says_something(schema: dict[str, Any]) -> bool:
    return bool(set(mapping(schema.get("properties"))) - {"apiVersion", "kind", "metadata"})


def strict(schema: dict[str, Any], *, top: bool = False) -> dict[str, Any]:
    """Return an openAPIV3Schema as a JSON schema that refuses fields it does not know.

    Null stands for an absent field, as it does for a cluster. `top` is for an object's own schema, whose metadata is
    Kubernetes' to define.
    """
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string", "null"], **_kept(schema, "pattern")}
    out = {name: value for name, value in schema.items() if name not in _IGNORED and not name.startswith("x-")}
    out = _bounds(schema) | out | _kept(schema, _KEYS) | _fields(schema, top)
    for name in ("items", "additionalProperties", "not"):
        if isinstance(schema.get(name), dict):
            out[name] = strict(schema[name])
    if isinstance(schema.get("type"), str) and not top:
        out["type"] = [schema["type"], "null"]
        out |= {"enum": [*out["enum"], None]} if "enum" in out else {}
    return out


def _bounds(schema: dict[str, Any]) -> dict[str, Any]:
    bits = _BITS.get(str(schema.get("format")))
    return {"minimum": -(2 ** (bits - 1)), "maximum": 2 ** (bits - 1) - 1} if bits else {}


def _fields(schema: dict[str, Any], top: bool) -> dict[str, Any]:
    given = mapping(schema.get("properties"))
    properties = {name: strict(each) for name, each in given.items()}
    if top:
        properties |= {"metadata": {"type": "object"}, "apiVersion": {"type": "string"}, "kind": {"type": "string"}}
    out: dict[str, Any] = {"properties": properties} if properties else {}
    if properties and not schema.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in schema:
        out["additionalProperties"] = False
    if "required" in schema:  # what has a default is filled in by the cluster
        out["required"] = [name for name in schema["required"] if "default" not in mapping(given.get(name))]
    return out


def _kept(schema: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: schema[name] for name in names if name in schema}


def errors(schema: dict[str, Any], value: Any, registry: Any = None) -> Iterator[Fault]:
    """Yield what is wrong with a value by a JSON schema, the innermost of each mistake."""
    more = {} if registry is None else {"registry": registry}
    for error in _VALIDATOR(schema, **more).iter_errors(value):
        inner = _innermost(error)
        if inner.validator == _KEYS and list(inner.absolute_path)[-2:-1] == ["env"]:
            continue  # there is a rule for it that needs no schema
        yield path_text(inner.absolute_path), _said(inner)


def _same_keys(_: Any, keys: list[str], value: Any, __: Any) -> Iterator[Any]:
    elements = mappings(value)
    own = [tuple(str(each.get(key, _DEFAULTS.get(key))) for key in keys) for _, each in elements]
    for at, key in enumerate(own):
        if key in own[:at]:
            said = " and ".join(f"{name} {part}" for name, part in zip(keys, key, strict=True))
            yield jsonschema.ValidationError(f"{said} is there already", path=[elements[at][0]])


#: Lists whose elements are told apart by keys must have each but once, or server-side apply refuses them.
_VALIDATOR = jsonschema.validators.extend(jsonschema.Draft202012Validator, {_KEYS: _same_keys})


def _innermost(error: Any) -> Any:
    while error.context:
        error = max(error.context, key=lambda each: len(each.absolute_path))
    return error


def _said(error: Any) -> str:
    if error.validator == "additionalProperties":
        known = set(mapping(error.schema.get("properties")))
        unknown = sorted(name for name in error.instance if name not in known)
        return f"{', '.join(map(repr, unknown))} is unknown there{_meant(unknown, known)}"
    # A value may be a secret that stands where it should not: it is described, never shown.
    what = "null" if error.instance is None else f"a {_KINDS.get(type(error.instance), 'value')}"
    match error.validator:
        case validator if validator == _KEYS:
            return str(error.message)
        case "type":
            wanted = [kind for kind in _listed(error.validator_value) if kind != "null"]
            return f"it is {what}, needs {' or '.join(wanted)}"
        case "required":
            absent = [name for name in error.validator_value if name not in error.instance]
            return f"{', '.join(map(repr, absent))} is missing there"
        case "enum":
            return f"it is {what} that is none of {', '.join(str(each) for each in error.validator_value if each)}"
        case _:
            return f"it is {what} that does not meet {error.validator} {error.validator_value}"


_KINDS = {str: "text", int: "whole number", float: "number", bool: "truth value", list: "list", dict: "mapping"}


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _meant(unknown: list[str], known: set[str]) -> str:
    meant = [each for name in unknown if (each := misspelt(name, known))]
    return f"; did you mean {', '.join(map(repr, meant))}?" if meant else ""


def path_text(parts: Iterable[Any]) -> str:
    """Return a path as findings write it.

    >>> path_text(["spec", "containers", 0, "image"])
    'spec.containers[0].image'
    """
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")


@cache
def _text(path: Path) -> str:
    return path.read_text("utf-8", "replace")


def _group_kind(owner: Object) -> tuple[str, str]:
    return str(owner.get("apiVersion")).rpartition("/")[0], str(owner.get("kind"))
