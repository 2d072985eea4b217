"""The ServingRuntime's arguments are Triton's: it starts with them, is shut where they say so, and tells what is asked.

This Triton is older than the manifests' and without a GPU: what NVIDIA's image adds is not seen here.
"""

from __future__ import annotations

import http.client
import os
import re
from collections.abc import Iterator

import pytest

from applications.fraud.features import FRAUD_VIEW
from headrace.cache_folder import cache_folder
from headrace.manifests.kubectl import fetch_kubectl
from predictor.local_triton import launching
from predictor.local_triton.getting import Installed
from predictor.local_triton.launching import Ports, Triton, arguments, launched
from predictor.local_triton.runs import Run, run_in
from tests.end_to_end.ground import Ground
from tests.manifests.golden import combined
from tests.manifests.monitoring.test_names import TRITON
from tests.manifests.test_release import one

KEY = "0a1b2c3d-the-uid-of-a-pod"


def manifest_arguments(installed: Installed, run: Run, ports: Ports, ground: Ground) -> list[str]:
    """Return the runtime's command, with folders and ports of this machine in the place of the container's."""
    (container,) = one(combined(("tracing",)), "ServingRuntime", "headrace-triton")["spec"]["containers"]
    here = {
        "--model-repository": ground.models,
        **{f"--{door}-port": getattr(ports, door) for door in ("http", "grpc", "metrics")},
    }
    given = []
    for argument in container["args"]:
        flag = argument.partition("=")[0]
        given.append(f"{flag}={here[flag]}" if flag in here else argument.replace("$(POD_UID)", KEY))
    flags = {argument.partition("=")[0] for argument in given}
    binary, *local = arguments(installed, ground.models, run, ports)
    # Where this Triton finds its backends, and that it listens on loopback; nothing that the manifest says.
    return [binary, *given, *(each for each in local if each.partition("=")[0] not in flags)]


@pytest.fixture(scope="module")
def manifested(installed: Installed, ground: Ground) -> Iterator[Triton]:
    """Triton as the manifest starts it, ready."""
    fetch_kubectl()
    with run_in(cache_folder(os.environ)) as run, pytest.MonkeyPatch.context() as patched:
        ports = Ports.free()
        command = manifest_arguments(installed, run, ports, ground)
        patched.setattr(launching, "arguments", lambda *_: command)
        with launched(installed, ground.models, run, ports) as triton:
            triton.wait_ready()
            yield triton


def asked(port: int, method: str, path: str, body: str = "", **headers: str) -> tuple[int, str]:
    """Return the status and the body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_it_answers_and_its_metrics_are_those_that_rules_and_dashboard_ask_for(manifested):
    row = [0.0] * len(FRAUD_VIEW.names)
    body = f'{{"inputs": [{{"name": "features", "datatype": "FP32", "shape": [1, {len(row)}], "data": {row}}}]}}'
    assert asked(manifested.ports.http, "POST", "/v2/models/fraud/infer", body)[0] == 200
    scraped = asked(manifested.ports.metrics, "GET", "/metrics")[1]
    # As they are: the client library's parser takes a counter to end in _total, and Triton's do not.
    found = {name: set(re.findall(r'(\w+)="', labels)) for name, labels in re.findall(r"^(\w+)\{(.*)\}", scraped, re.M)}
    for name, labels in TRITON.items():
        if not name.startswith("nv_gpu_"):
            assert labels <= found[name], name


@pytest.mark.parametrize("path", ["/v2/repository/index", "/v2/systemsharedmemory/region/x/unregister"])
def test_what_changes_it_is_shut_without_the_key(manifested, path):
    assert asked(manifested.ports.http, "POST", path)[0] == 403
    assert asked(manifested.ports.http, "POST", path, **{"admin-key": "a guess"})[0] == 403
    assert asked(manifested.ports.http, "POST", path, **{"admin-key": KEY})[0] == 200


def test_no_model_is_loaded_on_demand_whoever_asks(manifested):
    status, said = asked(manifested.ports.http, "POST", "/v2/repository/models/fraud/load", **{"admin-key": KEY})
    assert status == 503
    assert "not allowed" in said
