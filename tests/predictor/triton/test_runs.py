"""What a run of Triton keeps on the machine goes with it, or with the next start where it was killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from predictor.local_triton.runs import Run, run_in

MEMORY = Path("/dev/shm")


def region(of: Run) -> Path:
    path = MEMORY / f"{of.memory_prefix}stub0"
    path.write_bytes(b"\0")
    return path


def test_a_runs_folder_and_shared_memory_go_with_it(tmp_path: Path) -> None:
    with run_in(tmp_path) as run:
        left = region(run)
        assert run.folder.is_dir()
    assert not left.exists()
    assert not run.folder.exists()


def test_two_runs_leave_each_other_alone(tmp_path: Path) -> None:
    with run_in(tmp_path) as one:
        kept = region(one)
        with run_in(tmp_path) as other:
            assert one.memory_prefix != other.memory_prefix
        assert kept.exists()
        assert one.folder.is_dir()


def test_what_a_killed_run_left_is_removed_once_its_last_process_has_ended(tmp_path: Path) -> None:
    folder = tmp_path / "triton-runs" / "runkilled"
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    left = region(Run(folder, -1))
    held = [
        sys.executable,
        "-c",
        f"import fcntl; f = open({str(folder / 'lock')!r}); fcntl.flock(f, 2); print(flush=True); input()",
    ]
    with subprocess.Popen(held, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as last:
        assert last.stdout
        last.stdout.readline()
        with run_in(tmp_path):
            assert left.exists()
        last.communicate("\n")
    with run_in(tmp_path):
        assert not left.exists()
        assert not folder.exists()
