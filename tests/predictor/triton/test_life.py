"""Triton on this machine begins only when it answers rightly, and leaves nothing behind however it ends."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from applications.fraud.app import APP
from headrace.cli.stack import StackError
from tests.end_to_end.asking import ask
from tests.end_to_end.ground import Ground
from tests.end_to_end.test_readiness import until
from tests.end_to_end.test_starts import HALF_WRITTEN, started
from tests.predictor.triton.running import MODULE, alive, below, triton

MEMORY = Path("/dev/shm")


def test_it_says_what_it_is_and_listens_on_loopback_alone(ground: Ground, tmp_path: Path) -> None:
    with triton(ground.models, tmp_path) as running:
        assert "for laptops and CI, on loopback only, never for an image" in running.log.read_text()
        listening = addresses(below(running.process.pid))
    assert {host for host, _ in listening} == {"127.0.0.1"}
    assert {int(running.http.rpartition(":")[2]), int(running.grpc.rpartition(":")[2])} < {
        port for _, port in listening
    }
    code, said = started(MODULE, "--repository", str(ground.models), "--model", APP.name, "--host", "0.0.0.0")
    assert code == 2
    assert "invalid choice: '0.0.0.0'" in said


def addresses(processes: set[int]) -> set[tuple[str, int]]:
    """Return where these processes listen over TCP."""
    sockets = {
        link.readlink().name.strip("socket:[]")
        for pid in processes
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if str(link.readlink()).startswith("socket:")
    }
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in sockets:
                host, port = words[1].split(":")
                found.add((".".join(str(int(host[at : at + 2], 16)) for at in (6, 4, 2, 0)), int(port, 16)))
    return found


@pytest.mark.parametrize("door", ["model-repository", "shared-memory", "logging", "trace"])
def test_nobody_may_change_what_is_served(live, door: str) -> None:
    paths = {
        "model-repository": f"/v2/repository/models/{APP.name}/unload",
        "shared-memory": "/v2/systemsharedmemory/region/mine/register",
        "logging": "/v2/logging",
        "trace": "/v2/trace/setting",
    }
    said = ask(live[0].http, "POST", paths[door], {})
    assert said.status == 403


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_and_no_shared_memory_is_left(ground: Ground, tmp_path: Path, number: signal.Signals) -> None:
    with triton(ground.models, tmp_path) as running:
        processes = below(running.process.pid)
        assert len(processes) >= 2  # Triton, and one of its models
        running.process.send_signal(number)
        code = running.process.wait(20)
        assert code == (0 if number != signal.SIGKILL else -signal.SIGKILL)
        until(lambda: not alive(processes), "the end of Triton and its models")
    # A killed run's shared memory goes with the next start.
    with triton(ground.models, tmp_path / "next") as running:
        kept = {path.name.split("_")[1] for path in MEMORY.glob("headrace_run*")}
        assert len(kept) <= 1


@pytest.mark.parametrize("what", HALF_WRITTEN)
def test_a_model_that_is_not_whole(ground: Ground, tmp_path: Path, what: str) -> None:
    models = shutil.copytree(ground.models, tmp_path / "models")
    damage, reason = HALF_WRITTEN[what]
    damage(models / APP.name)
    with pytest.raises(StackError, match=reason), triton(models, tmp_path):
        pass


def test_a_taken_port(ground: Ground, live, tmp_path: Path) -> None:
    port = live[0].http.rpartition(":")[2]
    with pytest.raises(StackError, match=f"port {port} on 127.0.0.1 is taken"), triton(ground.models, tmp_path, port):
        pass
