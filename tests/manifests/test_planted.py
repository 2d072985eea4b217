"""The planted mistakes are found in the overlay for production as they are in the good set."""

from __future__ import annotations

import copy
from functools import cache

from headrace.manifests.documents import Object
from headrace.manifests.linting import Manifest, lint
from headrace.manifests.objects import identity
from headrace.manifests.rendering import render
from headrace.manifests.rulebook import EVERY_RULE
from tests.manifests.golden import MANIFESTS
from tests.manifests.planting import Mistake, mistakes, plant

#: What the overlay has no place for: it has neither canary nor gRPC, and says some things twice over.
NOT_THERE = {
    "canary-mode",  # no canary
    "canary-shape",
    "cluster-runtime",
    "implicit-runtime",
    "implicit-torchserve",
    "grpc-port-first",  # the predictor is asked by REST
    "predictor-host-port",
    "predictor-port-protocol",
    "env-twice",  # its variables are in a ConfigMap
    "scale-idle",  # KEDA scales
    "triton-api-open",  # its arguments are in another order
    "pipeline-idle",  # nothing says how many partitions there are
    "scale-to-zero",  # KEDA may
    "run-as-non-root",  # said by the pod and by the container
    "seccomp",
}


@cache
def production() -> tuple[Object, ...]:
    """Return the overlay for production, as if for the namespace of the good set."""
    objects = render(MANIFESTS / "overlays" / "production")
    for each in objects:
        each["metadata"].pop("namespace", None)
    return tuple(objects)


def test_planted_mistakes_are_found_in_the_overlay_for_production():
    planted = [(each, objects) for each in mistakes() if (objects := in_production(each)) is not None]
    found = {
        mistake.rule
        for mistake, objects in planted
        if mistake.rule in {each.rule for each in lint(Manifest("planted", objects, {})).findings}
    }
    assert found >= {mistake.rule for mistake, _ in planted} - NOT_THERE
    assert len(found) >= 60
    assert found <= {rule.name for rule in EVERY_RULE}


def in_production(mistake: Mistake) -> list[Object] | None:
    """Return the overlay with a mistake in it; None where it has no place for it."""
    objects = copy.deepcopy([*production(), *([mistake.more] if mistake.more else [])])
    by_name = {identity(each): each for each in objects}
    try:
        for name, changes in mistake.changes:
            plant(by_name[name], changes)
    except (KeyError, IndexError, TypeError):
        return None
    return objects
