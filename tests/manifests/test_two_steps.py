"""Why a model is released as a candidate first: predictors that serve side by side have what any transformer asks for.

While pods are replaced, a transformer learns from any predictor which version is production, and asks any other for it.
"""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from predictor.repository import verified
from predictor.versions import promote, roll_back
from tests.predictor.small_models import write


@pytest.fixture
def releases(tmp_path: Path) -> dict[str, Path]:
    """What is copied to a place of its own, one after the other: two models, each as candidate and as production."""
    kept: dict[str, Path] = {}

    def release(name: str, model: Path) -> None:
        kept[name] = shutil.copytree(model, tmp_path / name / "small")

    model = write(tmp_path / "models", b"one")
    release("first", model)
    for number, producer in ((2, b"two"), (3, b"three")):
        write(tmp_path / "models", producer)
        release(f"{number} as candidate", model)
        promote(model, "candidate")
        release(f"{number} as production", model)
    roll_back(model)
    release("back to 2", model)
    return kept


def missed(former: Path, latter: Path) -> list[int]:
    """Return the versions that predictors of one release are asked for and do not have, while both serve."""
    both = verified(former), verified(latter)
    return [one.production for one, other in (both, both[::-1]) if one.production not in other.served]


def test_in_two_steps_whoever_is_asked_has_the_version(releases):
    steps = list(releases.values())
    assert [missed(former, latter) for former, latter in pairwise(steps)] == [[]] * (len(steps) - 1)


def test_in_one_step_an_old_predictor_is_asked_for_what_it_has_not(releases):
    assert missed(releases["first"], releases["2 as production"]) == [2]
    assert missed(releases["2 as production"], releases["3 as production"]) == [3]


def test_a_rollback_of_the_last_step_misses_nothing_either(releases):
    assert missed(releases["2 as production"], releases["2 as candidate"]) == []
