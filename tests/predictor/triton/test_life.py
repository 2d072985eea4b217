"""Triton on this machine is closed to all but questions, and begins only with a model that is whole."""

from __future__ import annotations

import ipaddress
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from applications.fraud.app import APP
from headrace.cache_folder import cache_folder
from headrace.cli.stack import StackError
from tests.descriptors import sockets_of
from tests.end_to_end.asking import ask
from tests.end_to_end.ground import Ground
from tests.end_to_end.test_readiness import until
from tests.end_to_end.test_starts import HALF_WRITTEN, started
from tests.predictor.triton.running import MODULE, Up, alive, below, triton


def test_it_listens_on_loopback_alone(live: Up, ground: Ground) -> None:
    listening = addresses(live.processes)
    assert all(address.is_loopback for address, _ in listening)
    assert {int(live.predictor.rpartition(":")[2]), int(live.grpc.rpartition(":")[2])} < {port for _, port in listening}
    code, said = started(MODULE, "--repository", str(ground.models), "--model", APP.name, "--host", "0.0.0.0")
    assert code == 2
    assert "invalid choice: '0.0.0.0'" in said


def addresses(processes: set[int]) -> set[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]]:
    """Return where these processes listen over TCP."""
    sockets = {inode for process in processes for inode in sockets_of(process)}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in sockets:
                host, port = words[1].split(":")
                quads = [bytes.fromhex(host[at : at + 8])[::-1] for at in range(0, len(host), 8)]
                address = ipaddress.ip_address(b"".join(quads))
                mapped = getattr(address, "ipv4_mapped", None)
                found.add((mapped or address, int(port, 16)))
    return found


@pytest.mark.parametrize(
    "path",
    [
        f"/v2/repository/models/{APP.name}/unload",
        "/v2/systemsharedmemory/region/mine/register",
        "/v2/logging",
        "/v2/trace/setting",
    ],
)
def test_nobody_may_change_what_is_served(live: Up, path: str) -> None:
    assert ask(live.predictor, "POST", path, {}).status == 403


@pytest.mark.parametrize("what", HALF_WRITTEN)
def test_a_model_that_is_not_whole(ground: Ground, tmp_path: Path, what: str) -> None:
    models = shutil.copytree(ground.models, tmp_path / "models")
    damage, reason = HALF_WRITTEN[what]
    damage(models / APP.name)
    with pytest.raises(StackError, match=reason), triton(models, tmp_path):
        pass


def test_a_taken_port(live: Up, ground: Ground, tmp_path: Path) -> None:
    port = live.predictor.rpartition(":")[2]
    with pytest.raises(StackError, match=f"port {port} on 127.0.0.1 is taken"), triton(ground.models, tmp_path, port):
        pass


def test_it_ends_with_who_started_it_even_one_that_is_killed(ground: Ground, tmp_path: Path) -> None:
    serve = [sys.executable, "-m", MODULE, "--repository", str(ground.models), "--model", APP.name]
    flags = ["--http-port", "0", "--grpc-port", "0", "--cache", str(cache_folder(os.environ))]
    starter = ["sh", "-c", '"$@" & wait', "sh", *serve, *flags]
    with subprocess.Popen(starter, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as shell:
        assert shell.stdout is not None
        assert any(line.startswith("listening ") for line in shell.stdout)
        processes = below(shell.pid)
        shell.kill()
        until(lambda: not alive(processes), "the end of Triton, its models and what ran them")
    assert len(processes) == 3
