"""What rules, dashboard and autoscalers ask Prometheus, taken apart into the metrics and labels that they name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import promql_parser

from headrace.manifests.documents import Object, read_objects
from tests.manifests.golden import MANIFESTS, combined
from tests.manifests.test_release import one

MONITORING = MANIFESTS / "components" / "monitoring"
#: What Grafana puts in before it asks.
VARIABLES = {"$__rate_interval": "1m", "$namespace": "headrace", "$model": "fraud"}


@dataclass(frozen=True, slots=True)
class Expression:
    """A query, and who asks it."""

    asker: str
    text: str

    def selectors(self) -> list[tuple[str, frozenset[str]]]:
        """Return each metric it names, with the labels that it is chosen by; ValueError where it is no PromQL."""
        found: list[tuple[str, frozenset[str]]] = []

        def visit(node: object) -> bool:
            if isinstance(node, promql_parser.VectorSelector):
                found.append((node.name or "", frozenset(matcher.name for matcher in node.matchers.matchers)))
            return True

        promql_parser.walk(promql_parser.parse(self.text), visit)
        return found


@cache
def rule_groups() -> list[Object]:
    """Return the groups of the PrometheusRule."""
    (rules,) = read_objects(MONITORING / "rules.yaml")
    groups: list[Object] = rules["spec"]["groups"]
    return groups


def rules() -> Iterator[Object]:
    """Yield every rule, recorded or alerting."""
    for group in rule_groups():
        yield from group["rules"]


def dashboard() -> Object:
    """Return the dashboard as Grafana reads it."""
    found: Object = json.loads((MONITORING / "dashboard.json").read_text("utf-8"))
    return found


def panels() -> list[Object]:
    """Return the dashboard's panels that show something."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> list[Expression]:
    """Return every query there is in the manifests."""
    asked = [Expression(f"rule {rule.get('alert') or rule['record']}", rule["expr"]) for rule in rules()]
    for panel in panels():
        asked += [Expression(f"panel {panel['title']}", filled(each["expr"])) for each in panel["targets"]]
    for variable in dashboard()["templating"]["list"]:
        if inner := re.fullmatch(r"label_values\((.*), \w+\)", variable["query"]):
            asked.append(Expression(f"variable {variable['name']}", filled(inner[1])))
    spec = one(combined(("keda-autoscaling",)), "InferenceService")["spec"]
    for component in ("transformer", "predictor"):
        for metric in spec[component]["autoScaling"]["metrics"]:
            asked.append(Expression(f"autoscaling of the {component}", metric["external"]["metric"]["query"]))
    return asked


def filled(text: str) -> str:
    """Return a query of the dashboard's with its variables filled in."""
    for name, value in VARIABLES.items():
        text = text.replace(name, value)
    return text
