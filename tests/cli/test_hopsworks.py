"""`headrace hopsworks plan`, `apply` and `status` against a cluster on the wire: what they print and how they end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from applications.fraud.app import APP
from headrace.features import Window
from tests.hopsworks import StandIn

WINDOWS = (*APP.groups[0].windows[:-1], Window("30d", 30 * 86_400_000, tile_ms=43_200_000))
#: The application after a parameter was changed: under the same versions, and under new ones.
CHANGED = replace(APP, view=replace(APP.view, groups=(replace(APP.groups[0], windows=WINDOWS), APP.groups[1])))
RAISED = replace(
    APP, view=replace(APP.view, version=2, groups=(replace(APP.groups[0], windows=WINDOWS, version=2), APP.groups[1]))
)
HERE = "tests.cli.test_hopsworks"
DOCUMENT = Path(__file__).parents[2] / "docs" / "hopsworks.md"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """A cluster without Kafka."""
    with StandIn.started(tmp_path_factory.mktemp("cluster"), kafka=False) as cluster:
        yield cluster


@pytest.fixture
def cluster(running: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """The cluster, named by the environment."""
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOPSWORKS_TRUST_STORE_PATH", running.ca_file)
    for name in ("HOPSWORKS_HOSTNAME_VERIFICATION", "HOPSWORKS_API_KEY_FILE", "REST_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    return running


def test_from_an_empty_cluster_to_one_that_has_it_all_and_on_to_a_new_version(headrace, cluster, tmp_path, monkeypatch):
    planned = headrace("hopsworks", "plan", "fraud", code=3).output
    assert "+ create feature group card_activity_fg version 1: 32 columns, 11 functions" in planned
    assert planned in DOCUMENT.read_text()
    assert planned.endswith("6 changes to apply: headrace hopsworks apply fraud\n")
    said = headrace("hopsworks", "status", "fraud", code=1).output
    assert "card_activity_fg  1" in said
    assert "bad  RonDB: " in said

    applied = headrace("hopsworks", "apply", "fraud").output
    assert applied.count("+ create") == 6
    assert applied.endswith("applied 6 changes\n")
    for words in (("plan", "fraud"), ("apply", "fraud")):
        assert headrace("hopsworks", *words).output.endswith("nothing to do: the cluster has what is declared\n")

    status = headrace("hopsworks", "status", "fraud", *at_rondb(cluster), code=1).output
    assert f"ok   RonDB: RonDB at 127.0.0.1:{cluster.rdrs_port} answers for view " in status
    assert "bad  Kafka: " in status
    assert status.startswith(f"{cluster.host}:{cluster.port}: Hopsworks 5.2.1, project {cluster.project}\n")
    assert status.count("as declared") == 6

    said = headrace("hopsworks", "plan", f"{HERE}:CHANGED", code=1).output
    assert "! conflict feature group card_activity_fg version 1: it was declared as" in said
    assert said.endswith("nothing can be applied before the conflicts are settled\n")
    said = headrace("hopsworks", "apply", f"{HERE}:CHANGED", code=1).output
    assert said.startswith("Error: nothing was changed, needs these conflicts to be settled first:\n  conflict")

    raised = headrace("hopsworks", "apply", f"{HERE}:RAISED").output
    assert raised.count("- left over") == 3
    assert raised.endswith("applied 3 changes\n")
    pruned = headrace("hopsworks", "apply", f"{HERE}:RAISED", "--prune").output
    assert pruned.endswith("applied 3 changes\n")
    assert pruned.count("- deleted feature ") == 3
    assert "left over" not in pruned
    assert "left over" not in headrace("hopsworks", "plan", f"{HERE}:RAISED").output

    (tmp_path / "key").write_text(cluster.api_key + "\n")
    monkeypatch.setenv("HOPSWORKS_API_KEY", "wrong.key")
    headrace("hopsworks", "status", f"{HERE}:RAISED", "--key-file", tmp_path / "key", code=1)


def at_rondb(cluster: StandIn) -> tuple[str, str]:
    return "--store", f"hopsworks://127.0.0.1:{cluster.rdrs_port}?tls=false"


def test_the_status_says_whether_rondb_and_kafka_can_be_used(headrace, tmp_path, monkeypatch):
    with StandIn.started(tmp_path / "cluster") as cluster:
        for name, value in (cluster.environment() | {"HOPSWORKS_TRUST_STORE_PATH": cluster.ca_file}).items():
            monkeypatch.setenv(name, value)
        headrace("hopsworks", "apply", "fraud")
        status = headrace("hopsworks", "status", "fraud", *at_rondb(cluster)).output
        assert "ok   Kafka: takes rows of card_activity, terminal_risk\n" in status
        cluster.faults.set("rdrs", status=503)
        status = headrace("hopsworks", "status", "fraud", *at_rondb(cluster), code=1).output
        assert "ok   Kafka" in status
        assert "bad  RonDB: " in status


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("hopsworks-sdk://", "the store is hopsworks-sdk://, needs hopsworks:// to look at RonDB's REST server"),
        ("hopsworks://?tls=perhaps", "the store's URL has tls=perhaps, needs tls=true or false"),
    ],
)
def test_a_store_that_is_no_rondb_is_refused(headrace, cluster, url, message):
    assert message in headrace("hopsworks", "status", "fraud", "--store", url, code=1).output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--port", "1"), "Error: cannot log in: 127.0.0.1:1 cannot be reached (connection refused), needs the host"),
        (("--host", "nowhere.invalid"), "nowhere.invalid:{port} cannot be reached (no such host)"),
        (("--project", "theirs"), "there is no project 'theirs' at 127.0.0.1:{port} that this key may see"),
        (("--key-file", "none"), "the key file 'none' cannot be read: FileNotFoundError"),
        (("--ca-file", "none"), "there is no file 'none', needs the PEM of the cluster's authorities"),
    ],
)
def test_a_cluster_that_is_named_wrongly_is_one_line(headrace, cluster, options, message):
    output = headrace("hopsworks", "status", "fraud", *options, code=1).output
    assert message.replace("{port}", str(cluster.port)) in output
    assert output.count("\n") == 1


def test_the_document_names_every_variable_and_every_command(headrace):
    text = DOCUMENT.read_text()
    source = (DOCUMENT.parents[1] / "headrace" / "hopsworks" / "session.py").read_text()
    variables = set(re.findall(r"HOPSWORKS_[A-Z_]+[A-Z]", source))
    assert {name for name in variables if name not in text} == set()
    assert all(f"headrace hopsworks {name}" in text for name in ("plan", "apply", "status"))


def test_a_cluster_that_is_not_named_says_what_to_set(headrace, cluster, monkeypatch):
    monkeypatch.delenv("HOPSWORKS_HOST")
    output = headrace("hopsworks", "plan", "fraud", code=1).output
    assert output == "Error: no host of Hopsworks was given, needs HOPSWORKS_HOST=my.cluster\n"


def test_an_application_that_cannot_be_declared_is_refused_before_anybody_is_asked(headrace, cluster):
    cluster.forget_requests()
    said = headrace("hopsworks", "apply", f"{HERE}:UNDECLARABLE", code=1).output
    assert said.startswith("Error: 'Fraud_fv' cannot be a name in Hopsworks, needs lower-case letters")
    assert cluster.requests == []


def test_filling_from_a_store_that_is_not_there_makes_none(headrace, cluster, tmp_path):
    said = headrace("hopsworks", "fill", "fraud", "--store", "typo", code=1).output
    assert said == "Error: there is no store at 'typo': run a pipeline first\n"
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("command", [("pipeline", "run", "fraud", "--source", "a.csv"), ("hopsworks", "fill", "fraud")])
def test_a_directory_is_not_a_url(headrace, tmp_path, command):
    said = headrace(*command, "--store", "hopsworks://key@my.cluster", code=2).output
    assert "Invalid value for '--store': it is a URL (hopsworks://), needs a directory on this machine" in said
    assert "key" not in said
    assert list(tmp_path.iterdir()) == []


UNDECLARABLE = replace(APP, name="Fraud")
