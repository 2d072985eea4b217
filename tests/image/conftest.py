"""The image that `make image` built, and the ground that its processes stand on."""

from __future__ import annotations

import os

import pytest

from tests.end_to_end.ground import made
from tests.image.contained import mounted

NAME = os.environ.get("HEADRACE_IMAGE", "")
REASON = "needs make image"


def pytest_configure(config):
    config.addinivalue_line("markers", "image: runs what `make image` built")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("image") and not NAME:
            item.add_marker(pytest.mark.skip(reason=REASON))


@pytest.fixture(scope="session")
def image():
    with mounted(NAME) as found:
        yield found


@pytest.fixture(scope="session")
def ground(tmp_path_factory):
    return made(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def shared(tmp_path_factory, ground):
    """A folder for the image's user alone, that holds the models and the events."""
    import shutil

    folder = tmp_path_factory.mktemp("shared")
    shutil.copytree(ground.models, folder / "models")
    shutil.copy(ground.store.parent / "payments.parquet", folder)
    os.chown(folder, 65532, 65532)
    return folder
