"""The application that the documentation shows is one: saved as it stands, it is streamed, asked and backfilled."""

from __future__ import annotations

import re
import sys

import pytest

from tests.architecture.code import ROOT

AT = 1_767_225_600_000


@pytest.fixture
def clicks(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "applications.md").read_text("utf-8"), re.DOTALL)
    (tmp_path / "clicks.py").write_text(code, "utf-8")
    rows = [f"c{n},7,{AT + n * 60_000},{10 + n}" for n in range(5)]
    (tmp_path / "clicks.csv").write_text("\n".join(["click_id,user,at,seconds", *rows, rows[0]]), "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield "clicks:APP"
    sys.modules.pop("clicks", None)  # nobody after this is to find it


def test_it_is_streamed_inspected_asked_and_backfilled(clicks, headrace):
    assert "6 events" in (said := headrace("pipeline", "run", clicks, "--source", "clicks.csv", "--store", "s").output)
    assert "1 repeated" in said
    at = ["--as-of", str(AT + 300_000)]
    shown = headrace("pipeline", "inspect", clicks, "user_clicks", "--key", "7", "--store", "s", "--at", at[1]).output
    assert "count 5, mean 12, max 14" in shown
    asked = ["--key", "user=7", "--set", "seconds=24", *at]
    assert re.search(r"over_mean\W+2\b", headrace("features", "get", clicks, "--store", "s", *asked).output)
    headrace("backfill", clicks, "--events", "clicks.csv", "--spine", "clicks.csv", "--out", "frame.parquet")
