"""What a container is told to start with: its flags, its variables, and those that come from ConfigMaps of the set.

The settings themselves are read by `headrace.settings`, the very code that the transformer starts with.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from headrace.manifests.documents import Object
from headrace.manifests.objects import look, mapping, mappings
from headrace.manifests.workloads import Container, Manifests
from headrace.settings import FILE, PREFIX, SettingsError, TransformerSettings, read_settings

SETTINGS = tuple(each.name for each in fields(TransformerSettings))
#: The embedded predictor's own defaults, where they are not the transformer's.
_PREDICTOR = {"deadline_ms": 5000.0}


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable, and where it is written down; without a value it is only known at run time."""

    name: str
    value: str | None
    owner: Object
    path: str


@dataclass(frozen=True, slots=True)
class Given:
    """The settings that a container starts with, as far as the set tells, and where each of them is given."""

    container: Container
    settings: TransformerSettings
    places: dict[str, tuple[Object, str]] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()  # what only a cluster knows the value of

    def knows(self, name: str) -> bool:
        """Tell whether a setting's value is known: it is given here, or nothing gives it and it is the default."""
        return name in self.places or name not in self.hidden

    def where(self, name: str) -> tuple[Object, str]:
        """Return the object and the path at which a setting is given; the container's own where it is not."""
        return self.places.get(name, (self.container.owner, self.container.path))


def variables(manifests: Manifests, container: Container) -> Iterator[Variable]:
    """Yield a container's variables, the ones that win last."""
    for _, source in mappings(container.spec.get("envFrom")):
        config = manifests.find("ConfigMap", str(look(source, "configMapRef.name")), container.owner)
        for name, value in mapping(config and config.get("data")).items():
            owner = config or container.owner
            yield Variable(f"{source.get('prefix', '')}{name}", str(value), owner, f"data.{name}")
    for at, given in container.env:
        path = f"{container.path}.env[{at}]"
        value = given.get("value", None if "valueFrom" in given else "")
        yield _resolved(manifests, container, Variable(str(given.get("name")), value, container.owner, path), given)


def _resolved(manifests: Manifests, container: Container, variable: Variable, given: dict[str, Any]) -> Variable:
    reference = mapping(look(given, "valueFrom.configMapKeyRef"))
    config = manifests.find("ConfigMap", str(reference.get("name")), container.owner)
    value = mapping(config and config.get("data")).get(str(reference.get("key")))
    if value is None or config is None:
        return variable
    return Variable(variable.name, str(value), config, f"data.{reference['key']}")


def given_to(manifests: Manifests, container: Container) -> Given:
    """Return what a transformer or a predictor starts with; what cannot be read keeps its default."""
    values: dict[str, Any] = dict(_PREDICTOR) if container.program == "predictor" else {}
    places: dict[str, tuple[Object, str]] = {}
    hidden = {
        name for name in SETTINGS if container.program == "transformer" and _has_absent_source(manifests, container)
    }
    for each in variables(manifests, container) if container.program == "transformer" else ():
        name = each.name.removeprefix(PREFIX).lower()
        if not each.name.startswith(PREFIX) or name not in SETTINGS:
            continue
        if each.value is None:
            hidden.add(name)
        else:
            _take(values, places, name, each.value, (each.owner, each.path))
    for name in SETTINGS:
        if value := container.flag(name):
            _take(values, places, name, value, (container.owner, f"{container.path}.args"))
    return Given(container, TransformerSettings(**values), places, frozenset(hidden))


def _has_absent_source(manifests: Manifests, container: Container) -> bool:
    names = [look(source, "configMapRef.name") for _, source in mappings(container.spec.get("envFrom"))]
    return any(name is None or manifests.find("ConfigMap", str(name), container.owner) is None for name in names)


def _take(
    values: dict[str, Any], places: dict[str, tuple[Object, str]], name: str, value: str, place: tuple[Object, str]
) -> None:
    with contextlib.suppress(SettingsError):  # another rule says so
        values[name] = getattr(read_settings(TransformerSettings, [f"--{name}={value}"], {}), name)
        places[name] = place


def refusal(name: str, value: str | None) -> str:
    """Return why the transformer would not start with a variable; empty where it would.

    >>> refusal("HEADRACE_DEADLNE_MS", "50")
    "the environment has setting 'deadlne_ms', which is unknown; did you mean 'deadline_ms'?"
    """
    if not name.startswith(PREFIX) or name == FILE:
        return ""
    known = name.removeprefix(PREFIX).lower() in SETTINGS
    if value is None and known:
        return ""
    try:
        read_settings(TransformerSettings, [], {name: value or ""})
    except SettingsError as wrong:
        return str(wrong)
    return ""


def flag_refusal(name: str) -> str:
    """Return what is wrong with the name of a flag of the transformer; empty where it is known or KServe's.

    >>> flag_refusal("--predictor_hots")
    "flag --predictor_hots is unknown; did you mean 'predictor_host'?"
    """
    if name.lstrip("-").replace("-", "_") in (*SETTINGS, "workers"):
        return ""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            read_settings(TransformerSettings, [name], {})
    except SettingsError as wrong:
        return str(wrong)
    return f"flag {name} means nothing to the transformer"
