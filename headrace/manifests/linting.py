"""Manifests looked through: by the schemas of their kinds, then by the rules for what no schema can say.

What is looked at is a set of objects together, as one cluster would be given them: a folder's render, or files. A
folder without a kustomization is every kustomization below it, one set each, and the files that are part of none.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from headrace.manifests import core_kinds
from headrace.manifests.documents import DocumentsUnreadable, Object, objects_of, read_objects, yaml_files
from headrace.manifests.findings import EXCUSE, Finding, Rule, Spot, excuses, finding, found_by
from headrace.manifests.rendering import KUSTOMIZATIONS, is_component, is_kustomization, render_with_origins
from headrace.manifests.rulebook import CORE, DEFINED, EXCUSE_UNFOUNDED, RULES
from headrace.manifests.schemas import Definitions, Fault
from headrace.manifests.workloads import Manifests

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A set of objects that belong together, and where each was written down: `files[id(object)]`."""

    name: str
    objects: list[Object]
    files: dict[int, str]


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in a set; `unchecked` names the kinds that no schema is known of, with how many objects each."""

    name: str
    objects: int
    findings: tuple[Finding, ...]
    unchecked: dict[str, int]

    def as_dict(self) -> dict[str, object]:
        """Return the report as it is written in JSON."""
        findings = [each.as_dict() for each in self.findings]
        return {"name": self.name, "objects": self.objects, "findings": findings, "unchecked": self.unchecked}


def sets_of(path: Path) -> Iterator[Manifest]:
    """Yield the sets of objects at a path, each with a name; `-` is the standard input.

    Raises DocumentsUnreadable where there is nothing to look at, RenderFailed, KubectlAbsent.
    """
    if str(path) == STDIN:
        objects = objects_of(sys.stdin.read(), "the standard input")
        yield Manifest("standard input", objects, {id(each): STDIN for each in objects})
    elif path.is_file():
        yield _of_files(path.name, [path])
    elif is_component(path):
        raise DocumentsUnreadable(f"{path} is a component, a difference to others: look at an overlay that lists it")
    elif is_kustomization(path):
        yield _rendered(path)
    elif path.is_dir():
        yield from _below(path)
    else:
        raise DocumentsUnreadable(f"{path} is not there, needs a folder or a file of manifests")


def lint(manifest: Manifest, crds: Path | None = None) -> Report:
    """Return what is wrong with a set of objects; kinds that `crds` would define are unchecked without it.

    Raises DocumentsUnreadable where `crds` is no folder of definitions.
    """
    kinds = {str(each["kind"]) for each in manifest.objects}
    definitions = Definitions(crds, kinds) if crds else None
    unchecked: Counter[str] = Counter()
    found: list[tuple[Rule, Spot]] = []
    for owner in manifest.objects:
        faults = _faults(owner, definitions)
        if faults is None:
            unchecked[f"{owner['kind']} ({owner['apiVersion']})"] += 1
        found += [(rule, (owner, *fault)) for rule, fault in faults or ()]
        if not core_kinds.knows(owner):
            found += [(CORE, (owner, *fault)) for fault in core_kinds.metadata_faults(owner)]
    spots = list(found_by(RULES, Manifests(manifest.objects)))
    found += [(rule, spot) for rule, spot in spots if not excuses(spot[0]).get(rule.name)]
    found += [(EXCUSE_UNFOUNDED, spot) for spot in _unfounded(manifest.objects, spots)]
    findings = {finding(rule, *spot, manifest.files) for rule, spot in found}
    return Report(manifest.name, len(manifest.objects), tuple(sorted(findings)), dict(unchecked))


def _unfounded(objects: Iterable[Object], spots: Iterable[tuple[Rule, Spot]]) -> Iterator[Spot]:
    needed = {(id(spot[0]), rule.name) for rule, spot in spots}
    for owner in objects:
        for name, why in excuses(owner).items():
            place = f"metadata.annotations.{EXCUSE}{name}"
            if (id(owner), name) not in needed:
                yield owner, place, f"no rule {name} finds anything in the object"
            elif not why:
                yield owner, place, f"the excuse from {name} has no reason"


def _faults(owner: Object, definitions: Definitions | None) -> list[tuple[Rule, Fault]] | None:
    if definitions is not None and definitions.knows(owner):
        return [(DEFINED, fault) for fault in definitions.faults(owner)]
    if core_kinds.knows(owner):
        return [(CORE, fault) for fault in core_kinds.faults(owner)]
    return None


def _of_files(name: str, paths: Iterable[Path]) -> Manifest:
    objects: list[Object] = []
    files: dict[int, str] = {}
    for path in paths:
        for each in read_objects(path):
            objects.append(each)
            files[id(each)] = os.path.relpath(path)
    return Manifest(name, objects, files)


def _rendered(path: Path) -> Manifest:
    rendered = render_with_origins(path)
    files = {id(each): origin or os.path.relpath(path) for each, origin in rendered}
    return Manifest(os.path.relpath(path), [each for each, _ in rendered], files)


def _below(folder: Path) -> Iterator[Manifest]:
    roots = sorted({path.parent for name in KUSTOMIZATIONS for path in folder.rglob(name)})
    yield from (_rendered(root) for root in roots if not is_component(root))
    loose = [path for path in yaml_files(folder) if not any(root in path.parents for root in roots)]
    if loose:
        yield _of_files(os.path.relpath(folder), loose)
    if not roots and not loose:
        raise DocumentsUnreadable(f"{folder} has no manifests in it, needs YAML files or kustomizations")
