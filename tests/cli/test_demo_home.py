"""The demo removes only what a demo made."""

from __future__ import annotations

from click.testing import CliRunner

from headrace.cli import main


def test_a_folder_that_is_not_a_demos_is_left_alone(tmp_path):
    (tmp_path / "models").mkdir()
    mine = tmp_path / "models" / "mine.onnx"
    mine.write_text("mine")
    done = CliRunner().invoke(main, ["demo", "fraud", "--home", str(tmp_path)])
    assert done.exit_code == 1
    assert "holds files that no demo made, needs an empty or a new folder" in " ".join(done.output.split())
    assert mine.read_text() == "mine"


def test_a_cluster_that_is_named_wrongly_is_known_before_the_payments(tmp_path, monkeypatch):
    for name, value in {"HOST": "127.0.0.1", "PORT": "1", "PROJECT": "fraud", "API_KEY": "some.key"}.items():
        monkeypatch.setenv(f"HOPSWORKS_{name}", value)
    done = CliRunner().invoke(main, ["demo", "fraud", "--home", str(tmp_path / "demo"), "--store", "hopsworks"])
    assert done.exit_code == 1
    assert "cannot log in: 127.0.0.1:1 cannot be reached" in " ".join(done.output.split())
    assert "payments" not in done.output


def test_what_an_earlier_demo_left_is_said_before_it_is_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = ["demo", "fraud", "--home", "mine", "--data", "no-payments.csv"]
    assert "replaces" not in CliRunner().invoke(main, asked).output
    for name in ("store", "models"):
        (tmp_path / "mine" / name).mkdir()
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 1
    assert done.output.startswith("replaces the store, models of an earlier run in mine\n")
    assert not (tmp_path / "mine" / "store").exists()


def test_the_payments_are_not_written_over(tmp_path):
    (tmp_path / ".headrace-demo").touch()
    data = tmp_path / "payments.parquet"
    data.write_bytes(b"mine")
    done = CliRunner().invoke(main, ["demo", "fraud", "--home", str(tmp_path), "--data", str(data)])
    assert done.exit_code == 1
    assert "the demo would write over 'payments.parquet' in its own folder" in " ".join(done.output.split())
    assert data.read_bytes() == b"mine"
