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


def test_the_payments_are_not_written_over(tmp_path):
    (tmp_path / ".headrace-demo").touch()
    data = tmp_path / "payments.parquet"
    data.write_bytes(b"mine")
    done = CliRunner().invoke(main, ["demo", "fraud", "--home", str(tmp_path), "--data", str(data)])
    assert done.exit_code == 1
    assert "the demo would write over 'payments.parquet' in its own folder" in " ".join(done.output.split())
    assert data.read_bytes() == b"mine"
