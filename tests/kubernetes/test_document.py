"""The document's outputs are what the commands print, and its Role allows what they ask."""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path

import pytest
import yaml

from headrace.manifests.documents import write_yaml
from tests.kubernetes.kinds import KINDS
from tests.kubernetes.sets import VIEWS, fraud

DOCUMENT = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()
BLOCKS = re.findall(r"```console\n(.*?)```", DOCUMENT, re.DOTALL)


def steps(block: str) -> list[tuple[list[str], str]]:
    """Return the commands of a block, each with what the document says it prints."""
    parts = [part.partition("\n") for part in re.split(r"^\$ headrace manifests ", block, flags=re.MULTILINE)[1:]]
    return [(shlex.split(command), output) for command, _, output in parts]


def as_documented(said: str, url: str) -> str:
    """Return an output with the document's cluster, instants and ages."""
    said = said.replace(f"stand-in ({url})", "prod (https://10.0.0.1:6443)").replace(
        "failing for 0 s", "failing for 120 s"
    )
    said = re.sub(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d", "2026-11-21T12:00:00", said)
    said = re.sub(r" [\d.]+ (s|min) *$", "2.4 s", re.sub(r" +$", "", said, flags=re.MULTILINE), flags=re.MULTILINE)
    return re.sub(r" +2\.4 s$", " 2.4 s", said, flags=re.MULTILINE).strip()


@pytest.fixture
def documented(manifests, stand_in, monkeypatch, tmp_path):
    """Run a step of the document and compare what it prints."""
    monkeypatch.chdir(tmp_path)
    for version in (1, 2):
        (tmp_path / f"fraud-{version}.yaml").write_text(write_yaml(fraud(version)))
    newest = f'headrace_pipeline_newest_event_timestamp_seconds{{stream="payments"}} {time.time() - 2.5}\n'
    stand_in.rules.metrics["fraud-pipeline-payments-0:9100"] = newest

    def check(words: list[str], output: str, *, code: int = 0, begins: bool = False) -> None:
        fast = {"apply": ["--settle", "0", "--failing", "0"], "rollback": ["--settle", "0"]}.get(words[0], [])
        said = as_documented(manifests(*words, *fast, code=code).output, stand_in.url)
        wanted = as_documented(output, "")
        assert said.startswith(wanted) if begins else said == wanted

    return check


def test_the_documents_outputs_are_what_is_printed(documented, stand_in):
    (first,), (diff,), (failed,), (status,), back, (conflict,) = map(steps, BLOCKS)
    documented(*first)
    documented(*diff, code=3, begins=True)
    stand_in.behave(lambda of: "blocked" if "predictor" in of["spec"] and VIEWS[2] in str(of) else "ready")
    documented(*failed, code=1)
    documented(*status)
    stand_in.behave(lambda of: "ready")
    for step in back:
        documented(*step)
    stand_in.edit("ConfigMap", "fraud-transformer", lambda of: of["data"].update(HEADRACE_DEADLINE_MS="900"))
    documented(*conflict, code=1)


def test_the_documents_role_allows_what_the_commands_ask(apply, manifests, stand_in):
    role = yaml.safe_load(re.search(r"```yaml\n(apiVersion: rbac.*?)```", DOCUMENT, re.DOTALL)[1])
    allowed = {
        (verb, resource, group)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    stand_in.rules.metrics["fraud-pipeline-payments-0:9100"] = ""
    extra = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}, "data": {}}
    apply([*fraud(1), extra])
    stand_in.behave(lambda of: "crash" if VIEWS[2] in str(of["spec"]) else "ready")
    apply(fraud(2), "--failing", 0, code=1)
    stand_in.behave(lambda of: "ready")
    apply(fraud(3), "--prune")
    manifests("rollback", "fraud", "--settle", 0, "--timeout", 30)
    manifests("status")
    manifests("history", "fraud")
    groups = {kind.plural: kind.group for kind in KINDS} | {"pods/proxy": ""}
    asked = {tuple(each.split()) for each in stand_in.rules.asked}
    for verb, what in asked:
        resource = "pods/proxy" if what.startswith("pods/proxy") else what.partition("/")[0]
        assert (verb, resource, groups[resource]) in allowed, f"{verb} {resource}"
