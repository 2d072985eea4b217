"""The benchmarks run: their ids are the permanent ones, and each finishes a tiny measurement on all its sides."""

import orjson
import pytest

from benchmarks.__main__ import main
from benchmarks.ground import TINY, Ground
from benchmarks.registry import OURS, Figure, benchmark, benchmarks
from benchmarks.rounds import Samples, turns

#: Permanent: one may be added, none renamed or used again.
IDS = [
    "backfill",
    "engines",
    "feature-servers",
    "fetch",
    "floor",
    "floor-in-process",
    "frame",
    "freshness",
    "hopsworks-faults",
    "hopsworks-read",
    "hopsworks-write",
    "kafka-freshness",
    "kafka",
    "model-servers",
    "overload",
    "pair-json",
    "pair-binary",
    "pair-grpc",
    "pair-cards",
    "predictor-batching",
    "scale",
    "scale-serve",
    "scale-serve-many",
    "serve-json",
    "serve-binary",
    "soak",
    "stream",
]


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    made = Ground(tmp_path_factory.mktemp("ground"), TINY)
    yield made
    made.release()


def test_the_ids_are_the_permanent_ones():
    assert list(benchmarks()) == IDS
    assert all(known.id == name and known.title for name, known in benchmarks().items())


def test_an_id_is_given_once():
    with pytest.raises(ValueError, match="benchmark id 'fetch' is taken, needs one of its own"):
        benchmark("fetch", "again")(benchmarks()["fetch"].run)


#: `scale-serve-many` is `scale-serve` with more keys.
@pytest.mark.parametrize("name", [name for name in IDS if name != "scale-serve-many"])
def test_each_finishes_a_tiny_run(ground, name):
    result = benchmarks()[name].run(ground)
    assert result.figures
    assert result.notes
    for figure in result.figures:
        assert OURS in figure.samples
        assert all(value > 0 for side in figure.samples.values() for value in side.values)


def test_a_ratio_above_one_is_better_whatever_is_measured():
    sides = {OURS: Samples([1.0, 2.0, 9.0]), "peer": Samples([4.0])}
    assert Figure("", "time", "s", sides, "lower", "peer").ratio == 2.0
    assert Figure("", "rate", "1/s", sides, "higher", "peer").ratio == 0.5
    assert Figure("", "rate", "1/s", {OURS: Samples([1.0])}, "higher", "peer").ratio is None


def test_an_aim_is_of_the_ratio_or_of_our_own_value():
    sides = {OURS: Samples([2.0]), "peer": Samples([4.0])}
    assert Figure("", "time", "s", sides, "lower", "peer", aim=2.0).met is True
    assert Figure("", "time", "s", sides, "lower", "peer", aim=1.9, aim_of="value").met is False
    assert Figure("", "rate", "1/s", sides, "higher", "peer", aim=1.9, aim_of="value").met is True
    assert Figure("", "rate", "1/s", sides, "higher", "peer").met is None


def test_every_round_measures_every_side_and_another_begins():
    assert [name for name, _ in turns({"a": 0, "b": 1}, 2)] == ["a", "b", "b", "a"]


def test_the_command_keeps_figures_and_names_what_it_does_not_know(tmp_path, capsys):
    assert main(["fetch", "--scale", "tiny", "--json", str(tmp_path)]) == 0
    kept = orjson.loads((tmp_path / "fetch.json").read_bytes())
    assert kept["id"] == "fetch"
    assert kept["figures"][0]["sides"][OURS]["median"] > 0
    assert main(["fetsh"]) == 2
    assert "there is no benchmark fetsh, needs one of backfill, " in capsys.readouterr().err
