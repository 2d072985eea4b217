"""The rules in the documentation are the rules in the code, in their order and in their words."""

from __future__ import annotations

import re

from click.testing import CliRunner

from headrace.cli import main
from headrace.manifests.rulebook import EVERY_RULE
from headrace.manifests.workloads import Manifests
from tests.architecture.code import ROOT
from tests.manifests.planting import GOOD, good

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


def test_the_examples_are_what_the_command_prints(tmp_path, monkeypatch):
    lines = GOOD.read_text().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if "name: h2c" in line)
    lines[at : at + 2] = reversed(lines[at : at + 2])
    (tmp_path / "fraud.yaml").write_text("".join(lines))
    for folder, path in ((ROOT, "manifests/graphs"), (tmp_path, "fraud.yaml")):
        monkeypatch.chdir(folder)
        told = CliRunner().invoke(main, ["manifests", "lint", path]).output
        told = "\n".join(line for line in told.splitlines() if "no schema here" not in line and "--crds" not in line)
        assert f"$ headrace manifests lint {path}\n{told.rstrip()}\n" in PAGE.read_text("utf-8")


def test_no_rule_changes_what_it_looks_at():
    objects = good()
    for rule in EVERY_RULE:
        list(rule.find(Manifests(objects)))
    assert objects == good()
