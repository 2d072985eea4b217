"""A small view, a small model of it, and a repository that holds the model."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from headrace.features import Column, FeatureView
from predictor.export import publish

COLUMNS = (
    Column("amount", low=0.0, missing=-1.0),
    Column("age", missing=-1.0, required=False),
    Column("visits", missing=0.0, required=False),
)


def view_of(*columns):
    return FeatureView("small", 1, tuple(columns), (), tuple(f"request.{column.name}" for column in columns))


def matrix_of(rows, seed=3):
    """Heavy-tailed amounts, ages of which a third are missing, counts; positive where an unknown age pays much."""
    rng = np.random.default_rng(seed)
    amount = rng.lognormal(3, 1, rows)
    age = np.where(rng.random(rows) < 1 / 3, -1.0, rng.uniform(18, 90, rows))
    matrix = np.column_stack([amount, age, rng.poisson(2, rows)]).astype(np.float32)
    return matrix, ((amount > 25) & (age < 0)).astype(np.int8)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as threads:
        yield threads


@pytest.fixture(scope="session")
def view():
    return view_of(*COLUMNS)


@pytest.fixture(scope="session")
def matrix():
    return matrix_of(2000)[0]


@pytest.fixture(scope="session")
def module(view, matrix):
    import torch
    from torch import nn

    from predictor.inputs import TabularInputs

    torch.manual_seed(5)
    inputs = TabularInputs.of(matrix, view.missing)
    return nn.Sequential(inputs, nn.Linear(inputs.width, 1), nn.Flatten(0), nn.Sigmoid()).eval()


@pytest.fixture(scope="session")
def published(tmp_path_factory, view, matrix, module):
    """Return a repository with the model `small`, not to be changed."""
    repository = tmp_path_factory.mktemp("repository")
    publish(repository, module, view, matrix, outputs=["p"], metrics={"roc_auc": 0.5}, trained_on={"rows": 2000})
    return repository


@pytest.fixture
def repository(published, tmp_path):
    """Return a repository of the test's own."""
    return shutil.copytree(published, tmp_path / "repository")


@pytest.fixture
def rewrite(repository):
    """Change the manifest in place."""

    def change(**values):
        path = repository / "small" / "headrace.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


class Server:
    """The predictor as a process of its own."""

    def __init__(self, repository: Path, *arguments: str) -> None:
        ports = ("--http-port", "0", "--grpc-port", "0")
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "predictor",
                "--repository",
                str(repository),
                "--model",
                "small",
                *ports,
                *arguments,
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.said = self.process.stdout.readline().split()
        self.http, self.grpc = (word.partition("=")[2] for word in self.said[1:])


@pytest.fixture(scope="module")
def server(published):
    running = Server(published)
    yield running
    running.process.terminate()
    assert running.process.wait(20) == 0
    running.process.communicate()
