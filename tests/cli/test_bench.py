"""`headrace bench` in a checkout, and what it says where there is none."""

import subprocess
import sys

from click.testing import CliRunner

from benchmarks.registry import benchmarks
from headrace.cli import bench


def test_a_checkout_runs_its_benchmarks():
    asked = [sys.executable, "-m", "headrace.cli", "bench", "fetsh", "--quick"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no benchmark fetsh, needs one of backfill, " in done.stderr


def test_the_names_are_listed_with_what_each_measures():
    assert "headrace bench --list" in CliRunner().invoke(bench.command, ["--help"]).output
    asked = [sys.executable, "-m", "headrace.cli", "bench", "--list"]
    listed = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(listed) == len(benchmarks())
    for line, (name, each) in zip(listed, benchmarks().items(), strict=True):
        assert line.split(maxsplit=1)[0] == name
        assert each.title in line
        assert line.endswith("(only where it is named)") == each.alone


def test_a_package_without_a_checkout_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "_ROOT", tmp_path)
    done = CliRunner().invoke(bench.command, ["fetch"])
    assert done.exit_code == 1
    assert f"there are no benchmarks beside the package in {tmp_path}, needs a checkout" in done.output
    assert "make bench" in done.output
