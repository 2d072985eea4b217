"""Alerts fire when they are to, and not before; Prometheus' own tool says so."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from headrace.manifests.documents import Object
from tests.architecture.code import ROOT
from tests.manifests.monitoring.expressions import panels, rule_groups, rules

CASES = Path(__file__).with_name("rules_test.yaml")
ALERTS = [rule for rule in rules() if "alert" in rule]


def ran(*command: str | Path, folder: Path) -> str:
    """Return what a program says that is to succeed."""
    ended = subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_rules_are_good_and_do_what_the_cases_say(tmp_path, promtool):
    # The resource of the operator holds what Prometheus reads from a file.
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": rule_groups()}))
    (tmp_path / "cases.yaml").write_text(CASES.read_text("utf-8"))
    assert f"SUCCESS: {len(list(rules()))} rules found" in ran(
        promtool, "check", "rules", "rules.yaml", folder=tmp_path
    )
    assert "SUCCESS" in ran(promtool, "test", "rules", "cases.yaml", folder=tmp_path)


def cases() -> list[Object]:
    """Return every expectation about an alert."""
    tests = yaml.safe_load(CASES.read_text("utf-8"))["tests"]
    return [case for test in tests for case in test.get("alert_rule_test", ())]


def test_every_alert_is_seen_firing_and_seen_silent():
    firing = {case["alertname"] for case in cases() if case["exp_alerts"]}
    silent = {case["alertname"] for case in cases() if not case["exp_alerts"]}
    assert firing == silent == {rule["alert"] for rule in ALERTS}


def test_every_alert_says_what_it_is_how_urgent_and_where_to_read_on():
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    told = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert [rule["alert"] for rule in ALERTS if f"`{rule['alert']}`" not in told] == []


def test_a_panel_has_a_place_of_its_own():
    places = [tuple(panel["gridPos"].values()) for panel in panels()]
    assert len(set(places)) == len(places) > 20
    assert len({panel["title"] for panel in panels()}) == len(places)
