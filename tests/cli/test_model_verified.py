"""`headrace model verify --into, --stay`: what a server that checks nothing is given, and by whom."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from predictor.verified import verified
from predictor.versions import sign
from tests.architecture.code import ROOT
from tests.predictor.small_models import keys, onnx_of, write
from tests.waiting import until


@pytest.fixture
def signed(tmp_path):
    """A signed model and the key that it is signed by."""
    secret, public = keys(tmp_path)
    model = write(tmp_path / "models")
    sign(model, secret)
    return model, public


def test_what_holds_is_copied_and_is_what_was_checked(headrace, signed, tmp_path):
    model, public = signed
    asked = ("model", "verify", model, "--public-key", public, "--into", tmp_path / "served" / "models")
    for _ in range(2):  # a container may be started over
        output = headrace(*asked).output
        assert output.endswith(f"signed by the key of team.pub; copied into {tmp_path / 'served' / 'models'}\n")
    assert verified(tmp_path / "served" / "models" / "small", public).models == {1: onnx_of(b"one")}
    assert [each.name for each in (tmp_path / "served" / "models").iterdir()] == ["small"]


def test_what_does_not_hold_is_not_copied(headrace, signed, tmp_path):
    model, _ = signed
    other = keys(tmp_path, "other")[1]
    output = headrace("model", "verify", model, "--public-key", other, "--into", tmp_path / "served", code=1).output
    assert "the signature of model 'small' does not hold under the key of 'other.pub'" in output
    (model / "model.sig").unlink()
    output = headrace("model", "verify", model, "--public-key", other, "--into", tmp_path / "served", code=1).output
    assert output == "Error: model 'small' has no signature, needs one by the key of 'other.pub'\n"
    assert not (tmp_path / "served").exists()


def test_a_folder_with_something_else_in_it_is_refused(headrace, signed, tmp_path):
    model, public = signed
    write(tmp_path / "served", b"two")
    output = headrace("model", "verify", model, "--public-key", public, "--into", tmp_path / "served", code=1).output
    assert (
        output == f"Error: {tmp_path / 'served'} is there and holds something else: name a folder that is not there\n"
    )


def test_it_stays_in_little_memory_until_it_is_told_to_end(signed, tmp_path):
    model, public = signed
    command = ["-m", "headrace.cli", "model", "verify", str(model), "--public-key", str(public)]
    command += ["--into", str(tmp_path / "served"), "--stay"]
    with subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        until(lambda: b"sigwait" in Path(f"/proc/{process.pid}/cmdline").read_bytes(), 60)
        assert (tmp_path / "served" / "small").is_dir()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
