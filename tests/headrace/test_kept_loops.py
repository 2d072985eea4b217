"""Loops that were made ahead are taken by whoever cannot write to where they are, and made where they are missing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from headrace import compiled, kept_loops
from headrace.cli import main
from tests.architecture.code import ROOT
from tests.headrace.kept import TOLD

LOOP = """
from headrace.compiled import LONG, compiled

@compiled(LONG, returns=LONG)
def loop(value):
    return value + 2
"""
UNWRITABLE = """
import os
really = os.access
os.access = lambda path, how: "kept" not in str(path) and really(path, how)
"""
ASKED = """
import json
from pathlib import Path
from loop import loop
import numba
kept = Path(numba.config.CACHE_DIR)
print(json.dumps([loop(40), sum(loop.stats.cache_hits.values()), numba.config.CPU_NAME, str(kept)]))
"""


@pytest.fixture
def config():
    return SimpleNamespace(CACHE_DIR="numba's own", CPU_NAME=None, CPU_FEATURES=None)


@pytest.fixture
def kept(tmp_path):
    folder = tmp_path / "kept"
    (folder / "features").mkdir(parents=True)
    (folder / "features" / "fold.nbc").write_bytes(b"code")
    return folder


@pytest.fixture
def unwritable(monkeypatch):
    monkeypatch.setattr(kept_loops.os, "access", lambda path, how: False)


@pytest.fixture
def copies(monkeypatch):
    held = []
    monkeypatch.setattr(kept_loops, "_copies", held)
    yield held
    for copy in held:
        copy.cleanup()


def test_a_folder_that_can_be_written_to_is_used_itself(config, tmp_path):
    folder = tmp_path / "a" / "new"
    assert kept_loops.use(config, {"HEADRACE_LOOPS": str(folder)}, "x86_64") == folder
    assert vars(config) == {"CACHE_DIR": str(folder), "CPU_NAME": "x86-64-v2", "CPU_FEATURES": ""}
    assert folder.is_dir()


def test_one_that_cannot_be_written_to_is_copied_and_the_copy_goes(config, kept, unwritable, copies):
    for folder in (kept / "features", kept):
        folder.chmod(0o555)
    kept_loops.use(config, {"HEADRACE_LOOPS": str(kept)}, "aarch64")
    copy = Path(config.CACHE_DIR)
    assert copy != kept
    assert (copy / "features" / "fold.nbc").read_bytes() == b"code"
    assert config.CPU_NAME == "generic"
    assert copy.stat().st_mode & 0o077 == 0
    assert (copy / "features").stat().st_mode & 0o200
    copies[0].cleanup()
    assert not copy.exists()


@pytest.mark.parametrize(("named", "machine"), [(False, "x86_64"), (True, "riscv64")])
def test_nothing_changes_without_a_folder_or_on_another_architecture(config, kept, named, machine):
    before = vars(config).copy()
    kept_loops.use(config, {"HEADRACE_LOOPS": str(kept)} if named else {}, machine)
    assert vars(config) == before


@pytest.mark.parametrize("what", ["the folder cannot be", "there is no place for a copy"])
def test_loops_are_made_anew_where_none_can_be_had(config, kept, what, unwritable, copies, monkeypatch):
    folder = kept if "place" in what else kept / "features" / "fold.nbc" / "below a file"
    monkeypatch.setattr(kept_loops, "TemporaryDirectory", _no_place)
    before = vars(config).copy()
    assert kept_loops.use(config, {"HEADRACE_LOOPS": str(folder)}, "x86_64") is None
    assert vars(config) == before


def test_what_one_process_made_the_next_takes_though_it_cannot_write_there(tmp_path):
    (tmp_path / "loop.py").write_text(LOOP)
    made, taken = _asked(tmp_path, ASKED), _asked(tmp_path, UNWRITABLE + ASKED)
    least = kept_loops._LEAST[os.uname().machine]
    assert made == [42, 0, least, str(tmp_path / "kept")]
    assert taken[:3] == [42, 1, least]
    assert taken[3] != made[3]
    assert not Path(taken[3]).exists()  # it went with the process


def test_every_module_with_loops_is_compiled_ahead():
    files = {
        path: path.read_text()
        for folder in ("headrace", "feature_pipelines")
        for path in ROOT.glob(f"{folder}/**/*.py")
    }
    having = {path for path, text in files.items() if re.search(r"^@compiled\([^)]", text, re.MULTILINE)}
    assert {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in having} == set(compiled.MODULES)


def test_what_headrace_compile_made_nobody_makes_again():
    """Beside the sources, where it is for every other process of this checkout."""
    done = _run(["-m", "headrace.cli", "compile", "fraud"])
    assert re.fullmatch(r"compiled in [0-9.]+ s, kept in the cache of this checkout or user\n", done)
    told = json.loads(_run(["-c", TOLD]))
    assert told["made"] == 0
    assert told["kept"] >= 2 * len(compiled.MODULES) - 1


def test_it_says_where_nothing_would_be_kept(tmp_path):
    (tmp_path / "file").touch()
    done = CliRunner().invoke(main, ["compile"], env={"HEADRACE_LOOPS": str(tmp_path / "file")})
    assert done.exit_code == 1
    assert done.stderr == (
        f"Error: HEADRACE_LOOPS names {tmp_path / 'file'}, needs a folder that can be written to: nothing is kept\n"
    )


def _no_place(**asked):
    raise FileNotFoundError("no usable temporary directory")


def _asked(folder, text):
    return json.loads(_run(["-c", text], PYTHONPATH=str(folder), HEADRACE_LOOPS=str(folder / "kept")))


def _run(arguments, **environment):
    paths = os.pathsep.join(filter(None, (environment.pop("PYTHONPATH", ""), *sys.path)))
    own = {name: value for name, value in os.environ.items() if name != kept_loops.VARIABLE}
    done = subprocess.run(
        [sys.executable, *arguments], env={**own, **environment, "PYTHONPATH": paths},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
