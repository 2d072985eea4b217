"""Every command helps; train and doctor say what they found."""

from __future__ import annotations

import subprocess
import sys

import click
import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest

import headrace as package
from applications.fraud.features import FRAUD_VIEW
from headrace.cli import COMMANDS, main
from headrace.features import Plan
from tests.architecture.code import ROOT


def commands(group: click.Group, *path: str) -> list[tuple[str, ...]]:
    """Return every command there is, by the words that call it."""
    context, found = click.Context(group), [path]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            found += commands(command, *path, name)
        else:
            found.append((*path, name))
    return found


@pytest.mark.parametrize("words", commands(main), ids=" ".join)
def test_every_command_says_what_it_does_and_every_option_too(headrace, words):
    output = headrace(*words, "--help").output
    assert output.startswith(f"Usage: main {' '.join(words)}".rstrip())
    command: click.Command = main
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None
        command = found
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option) and "--help" not in parameter.opts:
            assert parameter.opts[0] in output
            assert parameter.help or parameter.metavar, parameter.name


def test_the_command_tells_its_version_and_refuses_what_it_does_not_know(headrace):
    assert headrace("--version").output == f"headrace, version {package.__version__}\n"
    assert "No such command 'demoo'" in headrace("demoo", code=2).output
    assert set(COMMANDS) >= {"demo", "up", "pipeline", "backfill", "train", "features", "doctor"}


def test_a_model_is_trained_from_a_frame_and_answers_by_its_fingerprint(headrace, frame, tmp_path):
    output = headrace("train", "fraud", "--frame", frame, "--out", tmp_path / "m", "--seed", 3).output
    positive = sum(pq.read_table(frame).column("fraud_label").to_pylist())
    assert f"done   train fraud: 200 rows, {positive} positive; torch and ONNX within" in output
    assert f"fingerprint {FRAUD_VIEW.fingerprint[:16]}" in output
    (model,) = (tmp_path / "m").rglob("*.onnx")
    table = pq.read_table(frame)
    matrix = np.stack([np.array(table.column(name).to_pylist(), dtype=np.float32) for name in FRAUD_VIEW.names], axis=1)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (scores,) = session.run(["fraud_probability"], {session.get_inputs()[0].name: Plan.of(FRAUD_VIEW).fill(matrix)})
    assert scores.shape == (200,)
    assert ((scores >= 0) & (scores <= 1)).all()
    doctor = headrace("doctor", "--models", tmp_path / "m").output
    assert f"ok   model: fingerprint {FRAUD_VIEW.fingerprint[:16]}" in doctor


def test_a_frame_that_cannot_be_learnt_from_says_why(headrace, frame, tmp_path):
    table = pq.read_table(frame)
    pq.write_table(table.drop_columns(["fraud_label", "is_night"]), tmp_path / "absent.parquet")
    pq.write_table(table.replace_schema_metadata({b"headrace_fingerprint": b"0" * 64}), tmp_path / "other.parquet")
    for name, message in [
        ("no.parquet", f"there is no file '{tmp_path}/no.parquet'"),
        ("no.txt", "/no.txt' ends in '.txt', needs .parquet or .csv"),
        ("absent.parquet", "the frame has no is_night, fraud_label, needs them: make it with `headrace backfill`"),
        ("other.parquet", f"made under view {'0' * 16}, this one is {FRAUD_VIEW.fingerprint[:16]}: backfill again"),
    ]:
        output = headrace("train", "fraud", "--frame", tmp_path / name, "--out", tmp_path / "m", code=1).output
        assert message in output
    assert not (tmp_path / "m").exists()


def test_the_doctor_finds_this_machine_fit_and_a_store_that_is_not_there(headrace):
    output = headrace("doctor").output
    assert "ok   numpy: " in output
    assert (
        f"ok   application: fraud, {len(FRAUD_VIEW.names)} columns, fingerprint {FRAUD_VIEW.fingerprint[:16]}" in output
    )
    assert "note store: there is no store at '.headrace/fraud/store': run a pipeline first" in output
    assert "note model: there is none at" in output
    assert "bad" not in output


def test_the_doctor_counts_the_keys_of_a_store(headrace, store):
    for _ in range(2):
        assert (
            "ok   store: 5 keys of card_activity, 3 keys of terminal_risk"
            in headrace("doctor", "--store", store).output
        )


def test_the_doctor_fails_for_what_is_needed_and_wrong(headrace, payments, tmp_path):
    assert "bad  application: there is no application 'froud'" in headrace("doctor", "--app", "froud", code=1).output
    headrace("pipeline", "run", "fraud", "--source", payments, "--store", "half", "--fast")
    said = headrace("doctor", "--store", "half", code=1).output
    assert "bad  store: the store at 'half' holds no key of group 'terminal_risk': run its pipeline first" in said
    (tmp_path / "m" / "fraud").mkdir(parents=True)
    assert "bad  model: " in headrace("doctor", "--models", "m", code=1).output


def test_up_says_what_must_be_there_first(headrace, tmp_path):
    assert "there is no store at" in headrace("up", "fraud", code=1).output
    (tmp_path / "s").mkdir()
    assert "there is no model repository at m: run `headrace demo fraud` first, or name one" in (
        headrace("up", "fraud", "--store", "s", "--models", "m", code=1).output
    )


def test_a_demo_of_files_that_are_not_there_says_so(headrace):
    output = headrace("demo", "fraud", "--data", "no.csv", code=1).output
    assert "no.csv" in output
    assert "Traceback" not in output


WITHOUT_EXTRAS = """
import sys

class Extras:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in EXTRAS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

EXTRAS = set(sys.argv[1:])
sys.meta_path.insert(0, Extras())
from click.testing import CliRunner
from headrace.cli import COMMANDS, main
for words in ((), *((name,) for name in COMMANDS)):
    told = CliRunner().invoke(main, [*words, "--help"], catch_exceptions=False)
    assert told.exit_code == 0, (words, told.output)
from benchmarks.__main__ import main as measured
assert measured(["--list"]) == 0
assert measured(["fetch"]) == 2
"""
#: What the extras bring along, by the names they are imported by.
EXTRAS = (
    *("bytewax", "confluent_kafka", "duckdb", "fastavro", "hopsworks", "hopsworks_common", "hsfs", "jsonschema"),
    *("kubernetes_validate", "matplotlib", "model_signing", "onnx", "onnxscript", "opentelemetry", "pybase64"),
    *("pyflink", "pymysql", "pyspark", "referencing", "sklearn", "torch", "tritonclient"),
)


def test_every_command_says_what_it_is_without_any_extra():
    asked = [sys.executable, "-c", WITHOUT_EXTRAS, *EXTRAS]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "fetch " in done.stdout
    assert done.stderr.endswith("is not installed, benchmarks need every extra: make .venv/.dev\n")


def test_a_backfill_into_no_folder_is_refused_before_it_computes(headrace, payments):
    said = headrace("backfill", "fraud", "--events", payments, "--spine", payments, "--out", "no/f.parquet", code=1)
    assert "there is no folder no for --out, needs one: make it first" in said.output
