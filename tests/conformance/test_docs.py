"""The page that lists the checks lists all of them; `python -m tests.conformance.test_docs` writes the lists anew."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

from headrace.conformance.judge import CHECKS

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
HEADING = "## The checks\n"


def lists() -> str:
    """Return the lists of the checks as the page has them."""
    text = ""
    for area, checks in groupby(CHECKS, lambda check: check.area):
        text += f"\n### {area[0].upper()}{area[1:]}\n\n| id | name | level | rule |\n|---|---|---|---|\n"
        text += "".join(f"| {each.id} | {each.name} | {each.level} | {each.rule} |\n" for each in checks)
    return text


def test_the_page_lists_every_check() -> None:
    assert PAGE.read_text().partition(HEADING)[2] == lists()


def test_the_page_names_no_check_that_is_not_there() -> None:
    named = re.findall(r"\b(?:REST|BIN|HTTP|GRPC|AFTER)-\d{3}\b", PAGE.read_text())
    assert set(named) == {check.id for check in CHECKS}


if __name__ == "__main__":
    PAGE.write_text(PAGE.read_text().partition(HEADING)[0] + HEADING + lists())
