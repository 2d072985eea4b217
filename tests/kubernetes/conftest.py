"""A server for each test, and the command as a person runs it against it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from headrace.cli import main
from headrace.manifests.cluster import Cluster
from headrace.manifests.connecting import Access, connect
from tests.kubernetes.server import StandIn

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is on the loopback, whatever lies between this machine and others."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandIn]:
    """A running server with the namespaces `default` and `shop`."""
    with StandIn.started(tmp_path) as running:
        yield running


@pytest.fixture
def cluster(stand_in: StandIn) -> Iterator[Cluster]:
    """The server as the library sees it."""
    connected = Cluster(connect(Access(stand_in.kubeconfig(), request_timeout_s=5.0)))
    yield connected
    connected.close()


@pytest.fixture
def rendered(tmp_path: Path) -> Callable[[list[dict[str, Any]]], Path]:
    """A function that writes objects to a file, as a render would."""

    def written(objects: list[dict[str, Any]]) -> Path:
        path = tmp_path / "rendered.yaml"
        path.write_text(yaml.safe_dump_all(objects))
        return path

    return written


@pytest.fixture
def manifests(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `headrace manifests ...` against the server, expecting an exit code."""
    monkeypatch.setenv("KUBECONFIG", str(stand_in.kubeconfig()))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: object, code: int = 0) -> Result:
        result = CliRunner().invoke(main, ["manifests", *map(str, words)])
        assert result.exit_code == code, result.output + repr(result.exception)
        return result

    return run


@pytest.fixture
def apply(manifests: Run, rendered: Callable[[list[dict[str, Any]]], Path]) -> Run:
    """Apply objects, without a pause for them to settle."""

    def run(objects: list[dict[str, Any]], *words: object, code: int = 0) -> Result:
        return manifests("apply", rendered(objects), "--settle", 0, "--timeout", 30, *words, code=code)

    return run
