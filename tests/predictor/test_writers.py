"""Who writes to a repository at the same time, is killed, or does one thing after another: the model stays whole."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.manifest import CANDIDATE, PREVIOUS, PRODUCTION
from predictor.repository import ModelRefused, read_model, verified
from predictor.versions import nominate, promote, remove, roll_back
from tests.predictor.small_models import onnx_of, write


def test_of_many_writers_none_is_lost(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda at: write(tmp_path, f"by {at}".encode()), range(12)))
    found = verified(tmp_path / "small").manifest.versions
    assert sorted(found) == list(range(1, 13))
    written = {read_model(tmp_path / "small", version=number)[1] for number in found}
    assert written == {onnx_of(f"by {at}".encode()) for at in range(12)}
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


WRITER = """
import sys
from pathlib import Path
from predictor.versions import promote, roll_back
promote(Path(sys.argv[1]), 2)
while True:
    print(*roll_back(Path(sys.argv[1])), flush=True)
"""


def test_a_writer_that_is_killed_leaves_a_whole_model(tmp_path):
    model = write(tmp_path)
    write(tmp_path, b"two")
    for further in (1, 2, 5):
        if verified(model).production == 2:
            promote(model, 1)
        with subprocess.Popen([sys.executable, "-c", WRITER, str(model)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout
            for _ in range(further):
                assert writer.stdout.readline()
            writer.send_signal(signal.SIGKILL)
        found = verified(model)
        assert found.models == {1: onnx_of(b"one"), 2: onnx_of(b"two")}
        assert {found.production, found.aliases[PREVIOUS]} == {1, 2}
    promote(model, found.aliases[PREVIOUS])
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


NUMBER = st.integers(1, 5)
STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "promoted", "promote", "nominate", "remove", "roll back"]), NUMBER), max_size=6
)


def take(step, number, repository):
    match step:
        case "write" | "promoted":
            write(repository, b"another", columns=number, promote=step == "promoted")
        case "roll back":
            roll_back(repository / "small")
        case _:
            {"promote": promote, "nominate": nominate, "remove": remove}[step](repository / "small", number)


@settings(max_examples=12, deadline=None)
@given(STEPS)
def test_whatever_is_done_production_is_there_and_a_refusal_changes_nothing(tmp_path_factory, steps):
    repository = tmp_path_factory.mktemp("repository")
    model = write(repository)
    before = verified(model)
    for step, number in steps:
        try:
            take(step, number, repository)
        except ModelRefused:
            assert verified(model) == before
            continue
        found = verified(model)
        assert set(found.aliases) <= {PRODUCTION, CANDIDATE, PREVIOUS}
        assert found.production in found.served
        assert {len(found.manifest.versions[at].columns) for at in found.served} == {
            found.config["input"][0]["dims"][0]
        }
        before = found
