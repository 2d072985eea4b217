"""What cannot be served is refused at the start: an exit code, and one line that says why."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.ground import Ground, predictor_flags, transformer_flags

NOBODY = "127.0.0.1:9"  # a transformer starts without its predictor; it is not ready then


@pytest.fixture
def taken() -> Iterator[str]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        yield str(holder.getsockname()[1])


def started(module: str, *flags: str, **environment: str) -> tuple[int, str]:
    """Start a server that should refuse; return its exit code and what it said on stderr."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    command = [sys.executable, "-m", module, *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=clean | environment)
    assert "listening" not in done.stdout
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.strip()


@pytest.mark.parametrize("door", ["http", "grpc"])
def test_a_taken_port(ground: Ground, taken: str, door: str) -> None:
    flags = transformer_flags(ground.store, NOBODY, f"--{door}_port", taken)
    code, said = started("transformer", *flags)
    assert (code != 0, said.count("\n")) == (True, 0)
    assert f"port {taken} on 127.0.0.1 is taken" in said
    code, said = started("predictor", *predictor_flags(ground.models), f"--{door}-port", taken)
    assert code != 0
    assert said.splitlines()[-1].startswith(f"port {taken} on 127.0.0.1 is taken")


@pytest.mark.parametrize(
    ("flags", "environment", "reason"),
    [
        (["--deadline-mss", "5"], {}, "flag --deadline-mss is unknown; did you mean 'deadline_ms'?"),
        ([], {"HEADRACE_DEADLIN_MS": "5"}, "the environment has setting 'deadlin_ms', which is unknown; did you mean"),
        (["--application", "frod"], {}, "there is no application 'frod'"),
    ],
)
def test_settings_that_cannot_be_used(flags: list[str], environment: dict[str, str], reason: str) -> None:
    code, said = started("transformer", *flags, **environment)
    assert code == 2
    assert reason in said
    assert said.count("\n") == 0


def test_a_predictors_misspelt_flag(ground: Ground) -> None:
    code, said = started("predictor", *predictor_flags(ground.models), "--deadlne-ms", "5")
    assert code == 2
    assert "--deadlne-ms" in said


def cut(model: Path) -> None:
    path = model / "1" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1000])


HALF_WRITTEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no model": (lambda model: (model / "1" / "model.onnx").unlink(), "lacks 1/model.onnx"),
    "no manifest": (lambda model: (model / "headrace.json").unlink(), "has no headrace.json: it is half written"),
    "a cut model": (cut, "it was altered"),
    "a cut manifest": (lambda model: (model / "headrace.json").write_bytes(b'{"name": "fr'), "is half written"),
    "a pickle": (lambda model: (model / "more.pkl").write_bytes(b"\x80\x04."), "a file that can run code when loaded"),
    "nothing": (shutil.rmtree, "is not in the repository"),
}


@pytest.mark.parametrize("what", HALF_WRITTEN)
def test_a_model_that_is_not_whole(ground: Ground, tmp_path: Path, what: str) -> None:
    models = shutil.copytree(ground.models, tmp_path / "models")
    damage, reason = HALF_WRITTEN[what]
    damage(models / "fraud")
    code, said = started("predictor", *predictor_flags(models))
    assert code == 2
    assert reason in said
    assert said.startswith("predictor: ")
    assert said.count("\n") == 0
