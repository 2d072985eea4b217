"""The component verified-models: Triton waits for what was verified, has its flags then, and ends when it is told."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from headrace.manifests.rendering import RenderFailed
from tests.manifests.golden import combined
from tests.waiting import until


@pytest.fixture
def triton(tmp_path):
    """Run Triton's container as the component has it, with a server that says what it was given and ends."""
    (runtime,) = (each for each in combined(("verified-models",)) if each["kind"] == "ServingRuntime")
    server, verifier = runtime["spec"]["containers"]
    assert verifier["name"] == "model-verifier"
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "tritonserver"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$@"\n')
    program.chmod(0o755)
    command = [word.replace("/verified", str(tmp_path)) for word in (*server["command"], *server["args"])]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    ) as process:
        yield process
        process.kill()


def test_the_server_starts_once_the_model_is_there_with_all_of_its_flags(triton, tmp_path):
    with pytest.raises(subprocess.TimeoutExpired):
        triton.wait(0.2)
    (tmp_path / "models").mkdir()
    said = triton.communicate(timeout=30)[0].splitlines()
    assert said[:2] == [str(tmp_path / "bin" / "tritonserver"), f"--model-repository={tmp_path / 'models'}"]
    assert "--model-control-mode=none" in said
    assert triton.returncode == 0


def test_one_that_waits_ends_when_it_is_told(triton):
    until(lambda: bool(Path(f"/proc/{triton.pid}/task/{triton.pid}/children").read_text()))  # it sleeps
    triton.send_signal(signal.SIGTERM)
    assert triton.wait(30) == 143


def test_what_has_no_signature_is_refused_with_it():
    with pytest.raises(RenderFailed, match=r"(?s)verified-models.*/spec/predictor/model/modelFormat/name"):
        combined(("torchserve", "verified-models"))
