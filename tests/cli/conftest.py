"""Payments on disk, and the `headrace` command run in this process."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from headrace.cli import main
from headrace.cli.console import console

START, DAY = 1_767_225_600_000, 86_400_000
Headrace = Callable[..., Result]


@pytest.fixture
def headrace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Headrace:
    """Run the command in an empty folder, on a terminal of eighty columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "width", 80)

    def run(*arguments: Any, code: int = 0) -> Result:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == code, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


@pytest.fixture(scope="session")
def payments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hundred payments of five cards in forty days, in order of time, with labels."""
    chance = random.Random(11)
    times = sorted(START + int(chance.random() * 40 * DAY) for _ in range(200))
    frauds = [chance.random() < 0.25 for _ in times]
    columns = {
        "tid": [str(n) for n in range(200)],
        "cc_num": [chance.randrange(5) - 1 for _ in times],
        "terminal_id": [chance.randrange(3) for _ in times],
        "datetime": pa.array(times, pa.timestamp("ms")),
        "amount": [round(chance.expovariate(0.02) + 100 * fraud, 2) for fraud in frauds],
        "latitude": [chance.choice([None, chance.uniform(-90, 90)]) for _ in times],
        "longitude": [chance.uniform(-180, 180) for _ in times],
        "card_present": [chance.choice([True, False]) for _ in times],
        "fraud_label": [int(fraud) for fraud in frauds],
    }
    path = tmp_path_factory.mktemp("payments") / "payments.parquet"
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture(scope="session")
def frame(tmp_path_factory: pytest.TempPathFactory, payments: Path) -> Path:
    """A training frame of the payments, as `headrace backfill` writes it."""
    out = tmp_path_factory.mktemp("frame") / "frame.parquet"
    made = CliRunner().invoke(
        main, ["backfill", "fraud", "--events", str(payments), "--spine", str(payments), "--out", str(out)]
    )
    assert made.exit_code == 0, made.output
    return out


@pytest.fixture
def store(headrace: Headrace, payments: Path, tmp_path: Path) -> Path:
    """A store into which payments and labels were streamed."""
    for topic in ("payments", "labels"):
        headrace(
            "pipeline", "run", "fraud", "--source", payments, "--store", tmp_path / "s", "--topic", topic, "--fast"
        )
    return tmp_path / "s"
