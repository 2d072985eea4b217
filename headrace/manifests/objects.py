"""Looking into objects that may be malformed: what is absent or of another kind than it should be reads as empty.

Whether an object has the right shape is for its schema to say; a rule that looks at one must not fail because of it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

from headrace.manifests.documents import Object

_MULTIPLES = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18} | {
    f"{sign}i": 2.0 ** (10 * at) for at, sign in enumerate("KMGTPE", start=1)
}
_QUANTITY = re.compile(r"([0-9.]+)([a-zA-Z]*)")


def mapping(value: Any) -> dict[str, Any]:
    """Return the value where it is a mapping, an empty one otherwise."""
    return value if isinstance(value, dict) else {}


def mappings(value: Any) -> list[tuple[int, dict[str, Any]]]:
    """Return the mappings of a list with their places in it; none where it is no list."""
    return [(at, each) for at, each in enumerate(value) if isinstance(each, dict)] if isinstance(value, list) else []


def texts(value: Any) -> list[str]:
    """Return the elements of a list as text; none where it is no list."""
    return [str(each) for each in value] if isinstance(value, list) else []


def look(value: Any, path: str) -> Any:
    """Return what lies at a path of names with dots between them, None where there is nothing.

    >>> look({"spec": {"replicas": 2}}, "spec.replicas")
    2
    """
    for name in path.split("."):
        value = mapping(value).get(name)
    return value


def identity(owner: Object) -> str:
    """Return an object's kind and name, with its namespace where it has one: how findings name it.

    >>> identity({"kind": "Service", "metadata": {"name": "fraud", "namespace": "prod"}})
    'Service/prod/fraud'
    """
    metadata = mapping(owner.get("metadata"))
    parts = (owner.get("kind"), metadata.get("namespace"), metadata.get("name") or "(no name)")
    return "/".join(str(part) for part in parts if part)


def name_of(owner: Object) -> str:
    """Return an object's name, empty where it has none."""
    return str(look(owner, "metadata.name") or "")


def namespace_of(owner: Object) -> str:
    """Return an object's namespace, empty where it names none."""
    return str(look(owner, "metadata.namespace") or "")


def annotation(owner: Object, name: str) -> str:
    """Return the value of an object's annotation, empty where it has none."""
    return str(mapping(look(owner, "metadata.annotations")).get(name, ""))


def whole(value: Any, otherwise: int) -> int:
    """Return a whole number as it is, and `otherwise` for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise


def quantity(value: Any) -> float | None:
    """Return a Kubernetes quantity as a number, None where it is none.

    >>> quantity("250m"), quantity("2Gi"), quantity(1)
    (0.25, 2147483648.0, 1.0)
    """
    found = _QUANTITY.fullmatch(str(value))
    if not found or found[1].count(".") > 1 or found[1] == "." or (found[2] and found[2] not in _MULTIPLES):
        return None
    return float(found[1]) * _MULTIPLES.get(found[2], 1)


def misspelt(name: str, known: Iterable[str]) -> str:
    """Return the known name that a name is a misspelling of; empty where it is known, or like none.

    >>> misspelt("Standrd", ["Standard", "Knative"]), misspelt("Standard", ["Standard"])
    ('Standard', '')
    """
    names = list(known)
    if name in names:
        return ""
    close = difflib.get_close_matches(name.lower(), [each.lower() for each in names], n=1, cutoff=0.8)
    return next((each for each in names if close and each.lower() == close[0]), "")


def selects(selector: Any, labels: dict[str, Any]) -> bool:
    """Tell whether a label selector fits labels; an empty one fits all, one that is no mapping fits none."""
    if not isinstance(selector, dict):
        return False
    wanted = mapping(selector.get("matchLabels"))
    if any(labels.get(name) != value for name, value in wanted.items()):
        return False
    return all(_fits(each, labels) for _, each in mappings(selector.get("matchExpressions")))


def _fits(expression: dict[str, Any], labels: dict[str, Any]) -> bool:
    name, values = str(expression.get("key")), texts(expression.get("values"))
    match expression.get("operator"):
        case "In":
            return str(labels.get(name)) in values and name in labels
        case "NotIn":
            return str(labels.get(name)) not in values or name not in labels
        case "Exists":
            return name in labels
        case "DoesNotExist":
            return name not in labels
        case _:
            return False
