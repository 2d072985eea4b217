"""What goes wrong between the command and a cluster: each fault with its message, none with a stack trace."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.hopsworks.certificates import Authority
from tests.kubernetes.sets import fraud


@pytest.fixture
def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def test_there_is_no_kubeconfig(manifests, monkeypatch, tmp_path):
    said = manifests("status", "fraud", "--kubeconfig", tmp_path / "absent", code=1).output
    assert said == f"Error: there is no kubeconfig at {tmp_path}/absent: name one by --kubeconfig or KUBECONFIG\n"
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert f"there is no kubeconfig at {tmp_path}/.kube/config" in manifests("status", "fraud", code=1).output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a list", "is no kubeconfig: name another by --kubeconfig or KUBECONFIG"),
        ("contexts: [", "cannot be read as YAML"),
        ("contexts: []", "has no current context, its contexts are none: choose one by --context"),
        (
            "{current-context: a, contexts: [{name: a, context: {cluster: gone, user: me}}], clusters: [], users: []}",
            "cannot be used: Invalid kube-config file. Expected object with name gone",
        ),
    ],
)
def test_a_kubeconfig_that_cannot_be_used(manifests, tmp_path, text, message):
    (tmp_path / "broken").write_text(text)
    assert message in manifests("status", "fraud", "--kubeconfig", tmp_path / "broken", code=1).output


def test_a_context_that_is_not_there_and_one_that_is(manifests, apply):
    said = manifests("status", "fraud", "--context", "prod", code=1).output
    assert "has no context 'prod', its contexts are stand-in, elsewhere: choose one by --context" in said
    assert "to elsewhere (https://" in apply(fraud(), "--context", "elsewhere", "--dry-run").output


def test_nothing_answers(manifests, stand_in, closed_port):
    path = stand_in.kubeconfig(url=f"https://127.0.0.1:{closed_port}")
    said = manifests("status", "fraud", "--kubeconfig", path, code=1).output
    assert f"no cluster answers at https://127.0.0.1:{closed_port} (Connection refused)" in said
    path = stand_in.kubeconfig(url="https://cluster.invalid:6443")
    assert (
        "no cluster answers at https://cluster.invalid:6443"
        in manifests("status", "fraud", "--kubeconfig", path, code=1).output
    )


def test_the_certificate_is_another_authoritys(manifests, stand_in):
    path = stand_in.kubeconfig(authority=Authority().pem)
    said = manifests("status", "fraud", "--kubeconfig", path, code=1).output
    assert f"{stand_in.url} shows a certificate that is not trusted (" in said
    assert "the kubeconfig's certificate-authority must be the one that signed it" in said


def test_the_login_is_refused(manifests, stand_in):
    said = manifests("status", "fraud", "--kubeconfig", stand_in.kubeconfig(token="old"), code=1).output
    assert f"{stand_in.url} does not accept the login of the kubeconfig: log in anew" in said


def test_the_cluster_hangs(manifests, stand_in):
    stand_in.rules.hung = {("list", "configmaps")}
    said = manifests("status", "fraud", "--request-timeout", 0.2, code=1).output
    assert f"{stand_in.url} did not answer within 0.2 s (list configmaps in shop)" in said
    assert stand_in.rules.asked.count("list configmaps") == 1  # asked once: no retries lengthen the deadline


def test_a_right_is_missing(apply, manifests, stand_in):
    stand_in.rules.forbidden = {("patch", "inferenceservices")}
    said = apply(fraud(), code=1).output
    assert "InferenceService fraud: not allowed to patch inferenceservices/fraud in shop: " in said
    rule = 'apiGroups: ["serving.kserve.io"], resources: ["inferenceservices"], verbs: ["patch"]'
    assert f"it needs a Role with the rule {{{rule}}}" in said
    stand_in.rules.forbidden = {("list", "configmaps")}
    assert "not allowed to list configmaps in shop" in manifests("status", "fraud", code=1).output


def test_a_kind_is_not_installed(apply, stand_in):
    stand_in.kinds[:] = [kind for kind in stand_in.kinds if kind.group != "serving.kserve.io"]
    said = apply(fraud(), code=1).output
    assert "the cluster knows no InferenceService of serving.kserve.io/v1beta1: install what brings it" in said
    assert "the cluster knows no ServingRuntime" in said
    assert stand_in.names("ConfigMap") == []


def test_a_namespace_is_not_there(apply):
    said = apply(fraud(), "-n", "nowhere", code=1).output
    assert 'namespaces "nowhere" not found' in said


def test_a_cluster_that_is_busy_is_asked_again_and_given_up(manifests, apply, stand_in):
    stand_in.rules.busy = 2
    apply(fraud())
    stand_in.rules.busy = 3
    said = manifests("status", "fraud", code=1).output
    assert f"{stand_in.url} is too busy to list configmaps in shop: the server has received too many requests" in said


def test_a_field_that_no_schema_has_is_refused(apply, stand_in):
    stand_in.rules.unknown = {"replica"}
    misspelt = fraud()
    misspelt[-1]["spec"]["replica"] = 2
    said = apply(misspelt, code=1).output
    assert "Deployment fraud-pipeline-payments: " in said
    assert 'strict decoding error: unknown field "spec.replica"' in said
    assert stand_in.names("ConfigMap") == []


def test_a_pod_without_a_service_account(manifests, monkeypatch, tmp_path):
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    said = manifests("status", "fraud", code=1).output
    assert "this pod has no service account to log in with (Service token file does not exist.)" in said


def test_what_answers_is_something_else(manifests, stand_in):
    with plain_server() as url:
        said = manifests("status", "fraud", "--kubeconfig", stand_in.kubeconfig(url=url), code=1).output
    assert "what answers is no Kubernetes API server: see the server in the kubeconfig, and any proxy" in said


@contextmanager
def plain_server() -> Iterator[str]:
    """A server that answers every request with a page."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>log in</html>")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
