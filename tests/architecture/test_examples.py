"""Every example in a docstring runs, and gives what it says."""

import doctest
import importlib
import subprocess
import sys

import pytest

from tests.architecture.code import PACKAGES, ROOT, files, module_of

#: kserve and another gRPC client may not be loaded into one process: the modules of each run in one of their own.
APART = ("transformer", "headrace.cli.replay")
MODULES = [module_of(path) for path in files(*PACKAGES) if ">>> " in path.read_text() and path.name != "__main__.py"]


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith(APART)])
def test_the_examples_of(module):
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize("apart", APART)
def test_the_examples_of_what_runs_apart(apart):
    names = [name for name in MODULES if name.startswith(apart)]
    assert names
    asked = (
        f"import doctest, importlib; print(sum(doctest.testmod(importlib.import_module(n)).failed for n in {names}))"
    )
    answer = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.split()[-1] == "0", answer.stdout
