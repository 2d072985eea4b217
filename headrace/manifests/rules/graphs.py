"""InferenceGraphs: nodes that are there, weights that sum up, and steps that lead somewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headrace.manifests.documents import Object
from headrace.manifests.findings import Rule, Spot
from headrace.manifests.objects import look, mapping, mappings, whole
from headrace.manifests.workloads import Manifests

_TARGETS = ("serviceName", "nodeName", "serviceUrl")
_DATA = ("$request", "$response")


def _nodes(manifests: Manifests, *kinds: str) -> Iterator[tuple[Object, str, dict[str, Any]]]:
    for graph in manifests.of_kind("InferenceGraph"):
        for name, node in mapping(look(graph, "spec.nodes")).items():
            if isinstance(node, dict) and (not kinds or node.get("routerType") in kinds):
                yield graph, f"spec.nodes.{name}", node


def _steps(manifests: Manifests, *kinds: str) -> Iterator[tuple[Object, str, dict[str, Any]]]:
    for graph, path, node in _nodes(manifests, *kinds):
        for at, step in mappings(node.get("steps")):
            yield graph, f"{path}.steps[{at}]", step


def _weights(manifests: Manifests) -> Iterator[Spot]:
    for graph, path, node in _nodes(manifests, "Splitter"):
        total = sum(whole(step.get("weight"), 0) for _, step in mappings(node.get("steps")))
        if total != 100:
            yield graph, f"{path}.steps", f"the weights sum up to {total}"


def _targets(manifests: Manifests) -> Iterator[Spot]:
    for graph, path, step in _steps(manifests):
        given = [name for name in _TARGETS if step.get(name)]
        nodes = mapping(look(graph, "spec.nodes"))
        if len(given) != 1:
            yield graph, path, f"the step leads to {' and '.join(given) or 'nothing'}"
        elif given == ["nodeName"] and str(step["nodeName"]) not in nodes:
            yield graph, f"{path}.nodeName", f"there is no node {step['nodeName']}"
    for graph in manifests.of_kind("InferenceGraph"):
        if "root" not in mapping(look(graph, "spec.nodes")):
            yield graph, "spec.nodes", "there is no node root"


def _conditions(manifests: Manifests) -> Iterator[Spot]:
    for graph, path, step in _steps(manifests, "Switch"):
        if not step.get("condition"):
            yield graph, f"{path}.condition", "a step of a Switch has no condition"


def _data(manifests: Manifests) -> Iterator[Spot]:
    for graph, path, step in _steps(manifests):
        if (said := step.get("data")) and said not in _DATA:
            yield graph, f"{path}.data", f"data is {said}"


RULES = (
    Rule(
        "splitter-weights",
        _weights,
        "KServe's webhook refuses a Splitter whose weights do not sum up to 100",
        "let the weights of its steps sum up to 100",
    ),
    Rule(
        "graph-step",
        _targets,
        "the router has nowhere to begin, or nowhere to go, and every request fails",
        f"have a node root, and give each step one of {', '.join(_TARGETS)}, naming what is there",
    ),
    Rule(
        "switch-condition",
        _conditions,
        "the step is never taken, or always, whatever comes after it",
        "give each step of a Switch a condition",
    ),
    Rule(
        "graph-data",
        _data,
        "the router knows $request and $response alone, and passes the former step's answer otherwise",
        f"say data: {' or '.join(_DATA)}",
    ),
)
