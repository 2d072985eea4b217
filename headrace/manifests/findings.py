"""What a check of manifests finds: where, by which rule, what is there, what follows from it, and what to do.

Every finding is of a rule with a name; `headrace manifests rules` lists them. An object excuses itself from a rule by
an annotation `lint.headrace.dev/RULE` whose value is the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

from headrace.manifests.documents import Object
from headrace.manifests.objects import identity, look, mapping
from headrace.manifests.workloads import Manifests

EXCUSE = "lint.headrace.dev/"
#: The object, the path of the field in it, and what was found there.
Spot = tuple[Object, str, str]


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of mistake. `why` says what follows from it, `fix` what to do; `find` yields where it is."""

    name: str
    find: Callable[[Manifests], Iterable[Spot]]
    why: str
    fix: str


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One mistake at one place. `path` is that of the field, `file` where its object was written down."""

    file: str
    object: str
    path: str
    rule: str
    found: str
    why: str
    fix: str

    def as_dict(self) -> dict[str, str]:
        """Return the finding as it is written in JSON."""
        return asdict(self)


def found_by(rules: Iterable[Rule], manifests: Manifests) -> Iterator[tuple[Rule, Spot]]:
    """Yield what the rules find, whether it is excused or not."""
    for rule in rules:
        for spot in rule.find(manifests):
            yield rule, spot


def finding(rule: Rule, owner: Object, path: str, found: str, files: Mapping[int, str]) -> Finding:
    """Return a rule's finding in an object."""
    return Finding(files.get(id(owner), ""), identity(owner), path, rule.name, found, rule.why, rule.fix)


def excuses(owner: Object) -> dict[str, str]:
    """Return the rules that an object excuses itself from, with the reasons it gives.

    >>> excuses({"metadata": {"annotations": {"lint.headrace.dev/budget-missing": "one node"}}})
    {'budget-missing': 'one node'}
    """
    given = mapping(look(owner, "metadata.annotations")).items()
    return {name.removeprefix(EXCUSE): str(why or "").strip() for name, why in given if str(name).startswith(EXCUSE)}
