"""`headrace demo` on a small file of one's own: what it says, what it leaves, and how it ends when something fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from applications.fraud.app import APP
from tests.end_to_end.payments import Columns, payments

COMMAND = [sys.executable, "-c", "from headrace.cli import main; main(prog_name='headrace')", "demo", "fraud"]
KEPT = ("cc_num", "terminal_id", "datetime", "amount", "latitude", "longitude", "fraud_label")
ABSENT = ("tid", "card_present", "category")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Payments without some optional columns, instants in ISO 8601; one place in twenty is not given."""
    return write_csv(payments(3_000, seed=21), tmp_path_factory.mktemp("data") / "small.csv")


@pytest.fixture(scope="module")
def two_cards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Payments of two cards: no two can be asked for at once, so that their replay takes seconds."""
    events = payments(8_000, seed=22)
    return write_csv(events | {"cc_num": events["cc_num"] % 2}, tmp_path_factory.mktemp("data") / "long.csv")


def write_csv(events: Columns, path: Path) -> Path:
    """Write payments as a person would, and return the path."""
    columns = [events[name].tolist() for name in KEPT]
    columns[2] = [f"{at}Z" for at in events["datetime"].astype("datetime64[ms]")]
    rows = (",".join(map(str, row)).replace("nan", "") for row in zip(*columns, strict=True))
    path.write_text("\n".join([",".join(KEPT), *rows]) + "\n")
    return path


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder for the demo's files; no process that was given it is left at the end."""
    folder = tmp_path / "home"
    yield folder
    assert left_behind(folder) == []


def left_behind(home: Path) -> list[str]:
    """Return the command lines of processes that were told this folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue  # it ended meanwhile
        if any(str(home).encode() in word for word in words):
            found.append(b" ".join(words).decode())
    return found


def environment() -> dict[str, str]:
    """A wide terminal, and a proxy that is of no use: what stays on this machine does not ask it."""
    proxy = dict.fromkeys(("http_proxy", "https_proxy", "grpc_proxy"), "http://127.0.0.1:9")
    return {**os.environ, **proxy, "COLUMNS": "160", "PYTHONPATH": str(Path(__file__).parents[2])}


def demo(*flags: str | Path) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment())


def test_the_whole_channel_on_a_file_of_ones_own(data: Path, home: Path, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = demo("--data", data, "--home", home, "--json", figures)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ABSENT:
        assert f"column {name} is absent" in done.stdout
    assert "served = trained features within 0e+00" in done.stdout
    assert "Traceback" not in done.stderr

    said = orjson.loads(figures.read_bytes())
    held = said["held_out"]
    assert 100 < held["rows"] < 1_000
    assert 0 < held["positive_share"] < 0.2
    assert said["parity"] == {"rows": held["rows"], "largest_relative_difference": 0.0}
    assert 0 <= said["onnx_parity"] < 1e-5
    assert said["events_per_second"] > 0
    assert set(said["scores"]) == {"model", "baseline", *APP.ablations}
    for measured in said["scores"].values():
        assert set(measured) >= {"roc_auc", "average_precision", "card_precision_100"}
        assert all(0 <= value <= 1 for value in measured.values())
    assert said["scores"]["model"]["roc_auc"] > 0.6  # frauds are six times as large
    ways = sorted(way.partition(", ")[0] for way in said["latency_ms"])
    assert ways == sorted(["http json", "http binary", "grpc"] * 3)
    asked = sum(took["requests"] for took in said["latency_ms"].values())
    assert asked <= held["rows"]
    assert all(0 < took["p50"] <= took["p99"] for took in said["latency_ms"].values())
    assert set(said["machine"]) == {"cores", "python", "system"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_replay_leaves_nothing_behind(two_cards: Path, home: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [*COMMAND, "--data", str(two_cards), "--home", str(home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
        start_new_session=True,
    ) as running:
        assert running.stdout is not None
        said = ""
        for line in running.stdout:  # the servers run, the replay begins
            said += line
            if "start predictor and transformer" in line:
                break
        assert len(left_behind(home)) >= 3, said
        running.send_signal(number)
        rest = running.stdout.read()
        assert running.wait(30) not in (0, None), said + rest
    assert left_behind(home) == []


def test_a_step_that_fails_ends_it(home: Path, tmp_path: Path, data: Path) -> None:
    short = tmp_path / "short.csv"
    short.write_text("\n".join(data.read_text().splitlines()[:40]) + "\n")
    done = demo("--data", short, "--home", home)
    assert done.returncode == 1
    assert "failed payments" in done.stdout
    assert "give a longer history" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_not_there_ends_it(home: Path, tmp_path: Path) -> None:
    done = demo("--data", tmp_path / "nowhere.csv", "--home", home)
    assert done.returncode == 1
    assert "is not there, needs a CSV or Parquet file" in done.stderr
