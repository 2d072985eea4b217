"""One ground and one pair of servers for every test that only asks."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from headrace.cli.stack import Server
from tests.end_to_end.ground import Ground, made, serving

#: What may be said of a refusal: when, of which model, its status, kind and duration, and nothing of what was asked.
REFUSED = re.compile(r"[\dT:.+-]+ warning fraud: \d{3} \w+ after [\d.]+ ms(, request '[\w-]+')?")


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """A filled store and a published model, not to be changed."""
    return made(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def live(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running transformer with its predictor; at the end both still run, and logged nothing of what was asked."""
    with serving(ground, tmp_path_factory.mktemp("logs")) as (predictor, transformer):
        yield transformer
        transformer.check()
        predictor.check()
        for running in (transformer, predictor):
            said = running.log.read_text().splitlines()
            others = {line for line in said if not line.startswith("listening http=") and not REFUSED.fullmatch(line)}
            assert others <= {"ready"}
