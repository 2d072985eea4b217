"""Every notebook runs from a fresh kernel in an empty folder, in under a minute, and is committed without outputs."""

from __future__ import annotations

import ast
import os
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from applications.fraud.app import APP
from tests.hopsworks import StandIn

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CELL_S = 120  # where other tests run beside it
LONGEST_CELL = 30
#: What in the environment of the tests would make a notebook talk to somebody.
ELSEWHERE = re.compile("KAFKA|MODEL_VERSION|HOPSWORKS_.*|REST_ENDPOINT")
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
    known = {name: value for name, value in os.environ.items() if not ELSEWHERE.fullmatch(name)}
    return client.execute(env={**known, "PYTHONPATH": str(ROOT), **environment})


def outputs(notebook: Any, cell: str, kind: str = "text/plain") -> list[str]:
    """Return what a cell gave, of one kind."""
    [found] = [each for each in notebook.cells if each.id == cell]
    return [output.data[kind] for output in found.outputs if kind in output.get("data", {})]


def printed(notebook: Any, cell: str) -> str:
    """Return what a cell wrote to its standard output."""
    [found] = [each for each in notebook.cells if each.id == cell]
    return "".join(output.text for output in found.outputs if output.get("name") == "stdout")


@pytest.fixture
def own(tmp_path):
    """A folder to run in, which must be empty in the end, and one for temporary files, with none of ours."""
    folder, temporary = tmp_path / "in", tmp_path / "temporary"
    folder.mkdir()
    temporary.mkdir()
    yield folder, {"TMPDIR": str(temporary)}
    assert list(folder.iterdir()) == []
    assert list(temporary.glob("headrace*")) == []


def test_there_are_notebooks_in_the_order_they_are_read():
    assert [path.name[0] for path in NOTEBOOKS] == ["1", "2", "3"]


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


def test_in_a_cluster_that_is_named_events_become_a_model_of_the_registry(own, tmp_path):
    folder, variables = own
    with StandIn.started(tmp_path / "cluster") as cluster:
        notebook = executed(NOTEBOOKS[1], folder, **variables, **cluster.environment())
        assert cluster.unknown == []
        [model] = (tmp_path / "cluster").glob("**/Models/fraud/1/Files/1/model.onnx")
        assert model.stat().st_size > 0
        assert cluster.feature_view("fraud_fv", 1)["name"] == "fraud_fv"
    assert outputs(notebook, "connect") == ["(['fraud_label'], 49)"]
    events = {"payments": 6_000, "labels": 6_000}
    assert ast.literal_eval(outputs(notebook, "write")[0]) == {f"{name}_fg": rows for name, rows in events.items()}
    assert ast.literal_eval(outputs(notebook, "read")[0]) == events
    assert ast.literal_eval(outputs(notebook, "frame")[0]) == (6_000, len(APP.view.names))
    assert ast.literal_eval(outputs(notebook, "train")[0])["average_precision"] > 0.3  # a guess has 0.1
    assert len(outputs(notebook, "look", PNG)) == 1
    assert ast.literal_eval(outputs(notebook, "registered")[0])[:2] == ("fraud", 1)
    fetched = f"done   fetch fraud: fraud version 1, fingerprint {APP.view.fingerprint[:16]}"
    assert printed(notebook, "fetch").strip().startswith(fetched)  # text, without a bar's control characters
    assert ast.literal_eval(outputs(notebook, "answer")[0]) == "6,000 answers of version 1 are the network's"


def test_without_a_cluster_features_are_read_in_three_ways_served_and_changed_by_a_late_payment(own):
    folder, variables = own
    notebook = executed(NOTEBOOKS[2], folder, **variables)
    assert outputs(notebook, "stream") == ["([3000, 3000], '150 rows in Hopsworks')"]
    assert outputs(notebook, "vectors") == ["(100, 48)"]
    assert outputs(notebook, "compare") == ["'4,200 values are equal, read in three ways'"]
    assert outputs(notebook, "model") == ["1"]
    before = ast.literal_eval(outputs(notebook, "serve")[0])
    late = ast.literal_eval(outputs(notebook, "late")[0])
    assert {name: was for name, (was, _) in late.items()} == before
    assert late["amount_count_1h"] == (1.0, 2.0)
    assert late["amount_max_24h"][1] == 900.0
    assert late["fraud_probability"][0] != late["fraud_probability"][1]
