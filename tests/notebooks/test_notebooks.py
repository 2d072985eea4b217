"""Every notebook runs from a fresh kernel in an empty folder, in under a minute, and is committed without outputs."""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CELL_S = 60
LONGEST_CELL = 30
PNG = "image/png"


class OwnKernel(AsyncKernelManager):
    """Starts kernels of the interpreter that runs the tests, whichever are installed beside it."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """Return how a kernel is started."""
        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], language="python"
        )


def executed(path: Path, folder: Path, **environment: str) -> Any:
    """Run a notebook in a folder and return it with its outputs; the error of a cell is raised."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=CELL_S, km=OwnKernel(), resources={"metadata": {"path": str(folder)}})
    known = {name: value for name, value in os.environ.items() if name != "KAFKA"}
    return client.execute(env={**known, "PYTHONPATH": str(ROOT), **environment})


def outputs(notebook: Any, cell: str, kind: str = "text/plain") -> list[str]:
    """Return what a cell gave, of one kind."""
    [found] = [each for each in notebook.cells if each.id == cell]
    return [output.data[kind] for output in found.outputs if kind in output.get("data", {})]


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_committed_without_outputs_and_reads_well(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.cells[0].cell_type == "markdown"
    for cell in notebook.cells:
        assert cell.source.strip()
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
            assert len(cell.source.splitlines()) <= LONGEST_CELL


def test_a_feature_is_declared_backfilled_streamed_compared_and_seen(tmp_path):
    notebook = executed(NOTEBOOKS[0], tmp_path)
    assert "'amount_sum_15m'" in outputs(notebook, "declare")[0]
    happened, coming = ast.literal_eval(outputs(notebook, "events")[0])
    assert happened + coming == 6_000
    assert f"events={happened}, dead=0, skipped=0, duplicates=0" in outputs(notebook, "store")[0]
    assert outputs(notebook, "produce") == [str(coming)]
    assert f"events={coming}, dead=0, skipped=0, duplicates=0" in outputs(notebook, "stream")[0]
    assert outputs(notebook, "compare") == ["'120 values of 20 cards are equal'"]
    for cell in ("plot", "inspect"):
        assert len(outputs(notebook, cell, PNG)) == 1
    assert list(tmp_path.iterdir()) == []
