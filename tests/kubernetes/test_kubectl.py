"""kubectl takes the server for a cluster, and finds there what our commands made, as a platform team would."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from headrace.manifests.documents import write_yaml
from headrace.manifests.kubectl import fetch_kubectl
from tests.kubernetes.sets import fraud

Kubectl = Callable[..., CompletedProcess]


@pytest.fixture(scope="session")
def program() -> str:
    """The kubectl that renders, of known version."""
    return str(fetch_kubectl())


@pytest.fixture
def kubectl(program, stand_in, tmp_path) -> Kubectl:
    """Run kubectl against the server, expecting an exit code."""
    environment = {"KUBECONFIG": str(stand_in.kubeconfig()), "HOME": str(tmp_path)}

    def run(*words: str, given: str = "", code: int = 0) -> CompletedProcess:
        ended = subprocess.run(
            [program, *words], input=given, env=environment, capture_output=True, text=True, timeout=60
        )
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended

    return run


def test_kubectl_finds_what_was_applied(apply, kubectl):
    apply(fraud())
    waited = kubectl("wait", "inferenceservice/fraud", "--for=condition=Ready", "--timeout=20s").stdout
    assert waited == "inferenceservice.serving.kserve.io/fraud condition met\n"
    assert "deployment.apps/fraud-transformer" in kubectl("get", "deployments", "-o", "name").stdout
    named = kubectl("get", "configmaps", "-l", "headrace.dev/revision-of=fraud", "-o", "name").stdout
    assert named == "configmap/headrace-revision-fraud-1\n"


def test_what_kubectl_takes_over_is_a_conflict_for_us_and_the_other_way_round(apply, kubectl):
    apply(fraud())
    words = ("apply", "--server-side", "--validate=false", "-f", "-")
    theirs = write_yaml(fraud(LEVEL="debug", HEADRACE_DEADLINE_MS="900"))
    refused = kubectl(*words, given=theirs, code=1).stderr
    assert 'conflict with "headrace"' in refused
    assert ".data.HEADRACE_DEADLINE_MS" in refused
    kubectl(*words, "--force-conflicts", given=theirs)
    assert (
        "ConfigMap fraud-transformer: .data.HEADRACE_DEADLINE_MS is set by kubectl\n" in apply(fraud(), code=1).output
    )
    apply(fraud(), "--force-conflicts")
    data = json.loads(kubectl("get", "configmap", "fraud-transformer", "-o", "json").stdout)["data"]
    assert data == {"HEADRACE_DEADLINE_MS": "200", "LEVEL": "debug"}  # kubectl's own field stays


def test_a_change_by_hand_is_seen_by_diff(apply, manifests, rendered, kubectl):
    apply(fraud())
    kubectl(
        "patch", "configmap", "fraud-transformer", "--type=merge", "-p", '{"data": {"HEADRACE_DEADLINE_MS": "900"}}'
    )
    said = manifests("diff", rendered(fraud()), code=3).output
    assert "~ ConfigMap fraud-transformer; .data.HEADRACE_DEADLINE_MS is set by kubectl-patch\n" in said
