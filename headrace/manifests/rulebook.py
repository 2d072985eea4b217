"""Every rule by which `headrace manifests lint` may find something, in the order they are listed."""

from __future__ import annotations

from headrace.manifests.findings import Rule
from headrace.manifests.rules import (
    availability,
    containers,
    graphs,
    images,
    pipelines,
    predictors,
    probes,
    programs,
    references,
    scaling,
    security,
    services,
    triton,
    verifying,
    wiring,
)

DEFINED = Rule(
    "definition-schema",
    lambda _: (),
    "a cluster refuses the object, or drops the field and goes on without it",
    "write the field as the CustomResourceDefinition has it",
)
CORE = Rule(
    "core-schema",
    lambda _: (),
    "a cluster refuses the object, or drops the field and goes on without it",
    "write the field as the Kubernetes API has it",
)
#: The rules of objects together.
RULES: tuple[Rule, ...] = (
    *services.RULES,
    *scaling.RULES,
    *predictors.RULES,
    *triton.RULES,
    *verifying.RULES,
    *wiring.RULES,
    *probes.RULES,
    *programs.RULES,
    *images.RULES,
    *containers.RULES,
    *security.RULES,
    *references.RULES,
    *availability.RULES,
    *pipelines.RULES,
    *graphs.RULES,
)
EXCUSE_UNFOUNDED = Rule(
    "excuse-unfounded",
    lambda _: (),
    "an excuse without a reason, or from what is not there, hides the next mistake",
    "give the annotation a reason, name a rule that finds something in this object, or take it out",
)
#: And those of the schemas and of the excuses.
EVERY_RULE: tuple[Rule, ...] = (DEFINED, CORE, *RULES, EXCUSE_UNFOUNDED)
