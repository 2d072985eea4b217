"""A session opens as its settings say, leaves nothing behind, and every refusal on the way says what was needed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headrace.hopsworks.session import HopsworksError, HopsworksSettings, connect
from tests.hopsworks import StandIn

NAMED = {"HOPSWORKS_HOST": "my.cluster", "HOPSWORKS_PROJECT": "fraud", "HOPSWORKS_API_KEY": "top.secret"}
ROOT = Path(__file__).parents[3]


def refusal(settings: HopsworksSettings) -> str:
    """Return why a session is refused; the key is in no part of it."""
    with pytest.raises(HopsworksError) as refused:
        connect(settings)
    assert settings.api_key not in str(refused.value)
    return str(refused.value)


def test_settings_are_those_of_the_environment_and_hide_the_key(tmp_path):
    (tmp_path / "key").write_text("from.file\n")
    (tmp_path / "ca.pem").write_text("")
    given = HopsworksSettings.of({
        "HOPSWORKS_HOST": "my.cluster", "HOPSWORKS_PORT": "8181", "HOPSWORKS_PROJECT": "fraud",
        "HOPSWORKS_API_KEY_FILE": str(tmp_path / "key"), "HOPSWORKS_CERT_FOLDER": "certs",
        "HOPSWORKS_TRUST_STORE_PATH": str(tmp_path / "ca.pem"),
    })  # fmt: skip
    assert (given.host, given.port, given.project, given.api_key) == ("my.cluster", 8181, "fraud", "from.file")
    assert (given.cert_folder, given.verify, given.where) == ("certs", str(tmp_path / "ca.pem"), "my.cluster:8181")
    assert "from.file" not in repr(given)
    assert HopsworksSettings.of({**NAMED, "HOPSWORKS_HOSTNAME_VERIFICATION": "False"}).verify is False
    assert HopsworksSettings.of(NAMED, host="other", port=None).where == "other:443"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"HOPSWORKS_HOST": ""}, "no host of Hopsworks was given, needs HOPSWORKS_HOST=my.cluster"),
        ({"HOPSWORKS_PROJECT": ""}, "no project of Hopsworks was given, needs HOPSWORKS_PROJECT=fraud"),
        ({"HOPSWORKS_API_KEY": ""}, "no API key of Hopsworks was given, needs HOPSWORKS_API_KEY, HOPSWORKS_API_KEY_"),
        ({"HOPSWORKS_API_KEY_FILE": "k"}, "HOPSWORKS_API_KEY and HOPSWORKS_API_KEY_FILE are both set, needs one"),
        ({"HOPSWORKS_HOST": "https://a"}, "is 'https://a', needs a name alone: no https://, no port"),
        ({"HOPSWORKS_PORT": "many"}, "HOPSWORKS_PORT is 'many', needs a number"),
        ({"HOPSWORKS_PORT": "70000"}, "the port of Hopsworks is 70000, needs 1 to 65535"),
        ({"HOPSWORKS_HOSTNAME_VERIFICATION": "maybe"}, "VERIFICATION is 'maybe', needs true or false"),
        ({"HOPSWORKS_TRUST_STORE_PATH": "/no/ca"}, "there is no file '/no/ca', needs the PEM of the cluster's"),
        ({"HOPSWORKS_API_KEY": "", "HOPSWORKS_API_KEY_FILE": "/no/key"}, "key file '/no/key' cannot be read: FileNot"),
    ],
)
def test_settings_that_cannot_be_used_say_what_was_needed(changed, message):
    with pytest.raises(HopsworksError) as refused:
        HopsworksSettings.of({**NAMED, **changed})
    assert message in str(refused.value)
    assert "top.secret" not in str(refused.value)


def test_no_time_at_all_is_refused():
    with pytest.raises(HopsworksError, match="the timeout of Hopsworks is 0, needs seconds, more than 0"):
        HopsworksSettings("a", "b", "c", timeout_s=0)


def test_a_session_leaves_no_credentials_behind_and_prints_nothing(settings, capsys):
    with connect(settings) as session:
        assert session.feature_store.project_name == settings.project
        assert session.version == "5.2.1"
        held = {path.name: path.stat().st_mode & 0o777 for path in session.folder.iterdir()}
        assert {"ca_chain.pem", "client_cert.pem", "client_key.pem"} <= set(held)
        assert set(held.values()) == {0o600}
        assert session.folder.stat().st_mode & 0o777 == 0o700
    assert not session.folder.exists()
    session.close()
    assert capsys.readouterr().out == ""


def test_a_folder_that_was_named_keeps_nothing_but_itself_may_go(settings, tmp_path):
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "mine").write_text("kept")
    with connect(replace(settings, cert_folder=str(tmp_path / "certs"))) as session:
        assert (tmp_path / "certs" / "client_key.pem").exists()
        assert session.folder == tmp_path / "certs"
    assert [path.name for path in (tmp_path / "certs").iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"host": "cluster.invalid"}, "cannot log in: cluster.invalid:{port} cannot be reached (no such host), needs"),
        ({"port": 1}, "cannot log in: 127.0.0.1:1 cannot be reached (connection refused), needs the host and the port"),
        ({"api_key": "wrong.key"}, "127.0.0.1:{port} does not accept the key (HTTP 401), needs a key that is valid"),
        ({"project": "nobodys"}, "at 127.0.0.1:{port} that this key may see (code 150004), needs HOPSWORKS_PROJECT or"),
        ({"project": "../x?y"}, "there is no project '../x?y' at 127.0.0.1:{port}"),
        ({"ca_file": ""}, "the certificate of 127.0.0.1:{port} is not trusted (unable to get local issuer cert"),
    ],
)
def test_a_cluster_that_is_named_wrongly_says_so(settings, wrong, message):
    assert message.replace("{port}", str(settings.port)) in refusal(replace(settings, **wrong))


def test_a_certificate_of_another_name_is_not_trusted(settings, cluster):
    assert "is not trusted" in refusal(replace(settings, host="127.1"))


def test_any_certificate_is_taken_where_that_is_asked_for(settings):
    with connect(replace(settings, ca_file="", hostname_verification=False)) as session:
        assert session.feature_store.id


def test_a_port_that_does_not_speak_tls_is_not_hopsworks(settings, cluster):
    said = refusal(replace(settings, port=cluster.rdrs_port))
    assert said == f"127.0.0.1:{cluster.rdrs_port} does not speak TLS as Hopsworks does, needs the port of its API"


def test_a_server_that_is_not_hopsworks_is_told_from_one(settings, cluster):
    cluster.faults.set("control", shape="text")
    said = refusal(settings)
    cluster.faults.clear()
    where = settings.where
    assert said == f"cannot log in: what answers at {where} is not Hopsworks, needs the host and the port of its API"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"listening": "hang"}, "gave no answer in time, it is stopped or a firewall drops packets"),
        ({"listening": "closed"}, "cannot be reached (connection refused)"),
        ({"delay_ms": 60_000}, "cannot log in: {where} gave no answer in time"),
        ({"delay_ms": 60_000, "path": "credentials"}, "cannot log in: {where} gave no answer in time"),
        ({"delay_ms": 60_000, "path": "_featurestore"}, "cannot log in: {where} gave no answer in time"),
        ({"drop": "connection"}, "cannot log in: {where} cannot be reached (connection closed)"),
        ({"truncate": True}, "cannot log in: {where} broke off its answer"),
        ({"status": 503, "path": "credentials"}, "cannot log in: {where} answers HTTP 503: told to fail"),
        ({"status": 403}, "the key may not log in at {where} (HTTP 403): told to fail (code 120000)"),
    ],
)
def test_a_cluster_that_fails_at_any_step_of_a_login_ends_it_in_time(settings, cluster, fault, message):
    cluster.faults.set("control", **fault)
    try:
        assert message.replace("{where}", settings.where) in refusal(replace(settings, timeout_s=0.5))
    finally:
        cluster.faults.clear()
    with connect(settings) as session:
        assert session.feature_store.id


def test_a_later_request_has_a_limit_of_time_and_a_rotated_key_is_said(settings, cluster: StandIn):
    with connect(replace(settings, timeout_s=0.5)) as session:
        cluster.faults.set("control", delay_ms=60_000)
        with pytest.raises(HopsworksError, match=r"cannot count: .* gave no answer in time"), session.asking("count"):
            session.feature_store.get_feature_groups()
        cluster.faults.clear()
        cluster.rotate_key()
        with pytest.raises(HopsworksError, match=r"does not accept the key \(HTTP 401\)"), session.asking("count"):
            session.feature_store.get_feature_groups()
        assert refusal(settings).endswith("needs a key that is valid: HOPSWORKS_API_KEY")


def test_a_disk_that_cannot_be_written_is_said_before_anything_is_asked(settings, cluster, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    cluster.forget_requests()
    said = refusal(replace(settings, cert_folder=str(tmp_path / "file" / "certs")))
    assert said.startswith("the cluster's credentials cannot be written to ")
    assert said.endswith("needs HOPSWORKS_CERT_FOLDER to be a folder that can be written")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert "credentials cannot be written to the temporary folder: No such file" in refusal(settings)
    assert cluster.requests == []


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("REST_ENDPOINT", "https://in", "REST_ENDPOINT is set: the SDK would use the cluster it runs in"),
        ("HOPSWORKS_HOSTNAME_VERIFICATION", "false", "asked for as True, HOPSWORKS_HOSTNAME_VERIFICATION says False"),
        ("HOPSWORKS_TRUST_STORE_PATH", "/other", "HOPSWORKS_TRUST_STORE_PATH names '/other': unset it"),
    ],
)
def test_an_environment_that_the_sdk_would_obey_instead_is_refused(settings, monkeypatch, variable, value, message):
    monkeypatch.setenv(variable, value)
    assert message in refusal(settings)


def alone(code: str) -> str:
    """Run code in a process of its own and return what it prints."""
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return answer.stdout.strip()


CONNECT = "from headrace.hopsworks.session import *\nfrom headrace.hopsworks.session import HopsworksError\n"
FAIL = "try: connect(HopsworksSettings('127.0.0.1', 'p', 'k', 1))\nexcept HopsworksError as said: print(said)\n"


def test_the_sdk_leaves_logging_as_it_was():
    logged = "import logging; print(logging.root.handlers, logging.root.level)\n"
    before, _, after = alone(logged + CONNECT + FAIL + logged).splitlines()
    assert before == after == "[] 30"


def test_without_the_sdk_its_extra_is_asked_for():
    said: Any = alone("import sys; sys.modules['hopsworks'] = None\n" + CONNECT + FAIL)
    assert said == "the package hopsworks is not installed, needs the extra: headrace[hopsworks]"
