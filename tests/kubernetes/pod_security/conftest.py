"""What the program says of objects, for tests that ask for it; they are left out where it was not built."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.kubernetes.pod_security.judging import REASON, Said, find_program, judge


def pytest_collection_modifyitems(items):
    if find_program() is None:
        for item in items:
            if "said" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason=REASON))


@pytest.fixture(scope="package")
def said() -> Callable[..., list[Said]]:
    """Return what says of objects, in their order, what an API server of today would."""
    program = find_program()
    assert program is not None
    return lambda *objects: judge(program, objects)
