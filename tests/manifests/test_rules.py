"""Each planted mistake is found by the rule of its name, at its place, and nothing else is."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from headrace.cli import main
from headrace.manifests.rulebook import CORE, DEFINED, EVERY_RULE, EXCUSE_UNFOUNDED
from headrace.manifests.rules.programs import FLAGS
from tests.architecture.code import ROOT
from tests.manifests.planting import checked, good, mistakes

#: Found by tests of their own.
ELSEWHERE = {DEFINED.name, CORE.name, EXCUSE_UNFOUNDED.name}


def test_nothing_is_found_in_a_good_set():
    assert checked(good()).findings == ()


@pytest.mark.parametrize("mistake", mistakes(), ids=lambda each: f"{each.rule} {each.place}")
def test_a_planted_mistake_is_found_by_name(mistake):
    findings = checked(mistake.planted()).findings
    assert {each.rule for each in findings} == {mistake.rule}
    assert mistake.place in [f"{each.object} {each.path}" for each in findings]
    assert mistake.found in " ".join(each.found for each in findings)


def test_every_rule_has_a_planted_mistake():
    assert {mistake.rule for mistake in mistakes()} | ELSEWHERE == {rule.name for rule in EVERY_RULE}


def test_rules_have_names_of_their_own_and_say_why_and_what_to_do():
    assert len({rule.name for rule in EVERY_RULE}) == len(EVERY_RULE)
    for rule in EVERY_RULE:
        assert rule.name == rule.name.lower().replace(" ", "-")
        assert rule.why
        assert rule.fix
        assert not (rule.why + rule.fix).endswith(".")


def test_flags_are_those_of_the_programs():
    run = set(re.findall(r"--([a-z][a-z-]+)", CliRunner().invoke(main, ["pipeline", "run", "--help"]).output))
    fill = set(re.findall(r"--([a-z][a-z-]+)", CliRunner().invoke(main, ["pipeline", "bootstrap", "--help"]).output))
    predictor = subprocess.run([sys.executable, "-m", "predictor", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert set(FLAGS["pipeline"]) == run | fill
    assert set(FLAGS["predictor"]) == set(re.findall(r"--([a-z][a-z-]+)", predictor.stdout))
