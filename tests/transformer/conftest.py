"""The ground of the live tests, for what is served here."""

from __future__ import annotations

import pytest

from tests.end_to_end.ground import Ground, made


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """A filled store and a published model, not to be changed."""
    return made(tmp_path_factory.getbasetemp())
