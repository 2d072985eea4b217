"""`python -m tests.hopsworks`: tells where it is in one line of JSON, and ends when it is interrupted."""

import http.client
import json
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.cli.broker import free_port
from tests.hopsworks import StandIn, StandInError

ROOT = Path(__file__).parents[2]


def test_it_runs_until_it_is_interrupted(tmp_path):
    told = [sys.executable, "-m", "tests.hopsworks", "--home", str(tmp_path), "--no-kafka"]
    with subprocess.Popen(told, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        said = json.loads(process.stdout.readline())
        cluster = said["cluster"]
        asking = http.client.HTTPConnection(cluster["host"], cluster["rdrs_port"])
        asking.request("GET", "/0.1.0/ping", headers={"X-API-KEY": said["environment"]["HOPSWORKS_API_KEY"]})
        assert asking.getresponse().status == 200
        asking.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    with socket.socket() as gone:
        assert gone.connect_ex((cluster["host"], cluster["rdrs_port"])) != 0


def test_for_a_shell_it_says_what_to_export_and_listens_where_a_cluster_does(tmp_path):
    port = free_port()
    told = [sys.executable, "-m", "tests.hopsworks", "--home", str(tmp_path), "--no-kafka", "--shell"]
    told += ["--rest-port", str(port)]
    with subprocess.Popen(told, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        said = [shlex.split(process.stdout.readline()) for _ in range(5)]
        variables = dict(one.split("=", 1) for export, one in said if export == "export")
        assert variables["HOPSWORKS_HOST"] == "127.0.0.1"
        assert Path(variables["HOPSWORKS_TRUST_STORE_PATH"]).is_file()
        with socket.socket() as there:
            assert there.connect_ex(("127.0.0.1", port)) == 0
        second = subprocess.run(
            [*told, "--home", str(tmp_path / "b")], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert second.returncode == 2
        assert f"cannot listen on {port}: Address already in use; --rest-port names another" in second.stderr
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_what_keeps_it_from_starting_is_in_its_log(tmp_path):
    (tmp_path / "ca.pem").mkdir()
    with pytest.raises(StandInError, match="ended with code 1: see"), StandIn.started(tmp_path, kafka=False):
        pass
    assert "ca.pem" in (tmp_path / "cluster.log").read_text()
