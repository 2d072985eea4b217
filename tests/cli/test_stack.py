"""Who waits for a server that is not ready is told why long before the wait is over."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from headrace.cli import stack

WHY = "model 'fraud' was trained under another view"


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    told = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(stack, "time", told)
    return now


@pytest.mark.parametrize(("ready_at", "said"), [(1.0, 0), (10.0, 1)])
def test_a_reason_is_said_once_and_not_of_a_start_that_is_quick(clock, monkeypatch, capsys, ready_at, said):
    monkeypatch.setattr(stack, "not_ready", lambda of: "" if clock[0] >= ready_at else WHY)
    stack.wait_ready(SimpleNamespace(name="transformer"))
    assert capsys.readouterr().err == f"the transformer is not ready yet: {WHY}\n" * said


def test_one_that_is_never_ready_ends_the_wait(clock, monkeypatch):
    monkeypatch.setattr(stack, "not_ready", lambda of: WHY)
    with pytest.raises(stack.StackError, match=f"the transformer was not ready after 60 s: {WHY}"):
        stack.wait_ready(SimpleNamespace(name="transformer"))
