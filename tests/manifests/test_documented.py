"""The rules in the documentation are the rules in the code, in their order and in their words."""

from __future__ import annotations

import re

from headrace.manifests.rulebook import EVERY_RULE
from headrace.manifests.workloads import Manifests
from tests.architecture.code import ROOT
from tests.manifests.planting import good

PAGE = ROOT / "docs" / "manifests.md"


def table() -> str:
    """Return the table of the rules as the page has it."""
    rows = (f"| `{rule.name}` | {_cell(rule.why)} | {_cell(rule.fix)} |" for rule in EVERY_RULE)
    return "\n".join(("| rule | what follows from the mistake | what to do |", "|---|---|---|", *rows))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def test_the_page_lists_every_rule_as_the_command_does():
    assert table() in PAGE.read_text("utf-8"), f"write the table anew:\n{table()}"


def test_the_page_names_no_rule_that_is_not_there():
    names = {rule.name for rule in EVERY_RULE}
    told = set(re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE))
    assert told == names


def test_no_rule_changes_what_it_looks_at():
    objects = good()
    for rule in EVERY_RULE:
        list(rule.find(Manifests(objects)))
    assert objects == good()
