"""A variant of a model becomes a version only where it is as good; else nothing is written."""

import itertools

import numpy as np
import pytest

from headrace.runtime import Runtime
from predictor.optimise import DRAWN, JUDGED_ON, Comparison, Rows, Side, compare, optimise
from predictor.reference import histograms
from predictor.repository import ModelRefused, read_manifest, read_model, write_model
from predictor.rewriting import step
from predictor.server import load
from predictor.verified import verified
from tests.predictor.test_rewriting import WIDTH, ensemble, numbers

MATRIX = numbers(4000, WIDTH, seed=3)
COLUMNS = [{"name": f"c{at}", "dtype": "float32"} for at in range(WIDTH)]


def named(model, fingerprint):
    import onnx

    whole = onnx.load_from_string(model)
    whole.metadata_props.add(key="headrace_fingerprint", value=fingerprint)
    return whole.SerializeToString()


@pytest.fixture(scope="module")
def model():
    return named(ensemble(2, 60, "mean"), "f" * 64)


@pytest.fixture(scope="module")
def rows(model):
    """Rows of which the model ranks every positive one before all others: a variant can only lose."""
    scores = Runtime.of(model).run(MATRIX)["p"]
    return Rows(MATRIX, (scores > np.quantile(scores, 0.5)).astype(np.int8))


@pytest.fixture
def directory(tmp_path, model):
    described = {"metrics": {"roc_auc": 0.9}, "reference": {"c0": {"edges": [0, 1], "counts": [1]}}}
    return write_model(
        tmp_path,
        "small",
        model,
        fingerprint="f" * 64,
        columns=COLUMNS,
        outputs=["p"],
        trained_on={"rows": 7},
        **described,
    )


@pytest.mark.parametrize(("kind", "smaller"), [("int8", 2.5), ("fp16", 1.7)])
def test_a_variant_becomes_the_candidate_and_says_what_it_was_made_of(directory, rows, kind, smaller):
    found = optimise(directory, kind, rows, allowed_loss=0.2)
    assert (found.kind, found.rows, found.before.average_precision) == (kind, 800, 1.0)
    assert found.smaller > smaller
    assert 0 <= found.loss <= 0.2
    held = verified(directory)
    assert (dict(held.aliases), sorted(held.manifest.versions)) == ({"production": 1, "candidate": 2}, [1, 2])
    manifest, variant = read_model(directory, version=2)
    assert (manifest.fingerprint, manifest.columns) == ("f" * 64, COLUMNS)
    assert manifest.reference == read_manifest(directory).reference
    assert manifest.trained_on["rows"] == 7
    said = manifest.trained_on["variant"]
    assert (said["kind"], said["of"], said["bytes"]) == (kind, 1, len(variant))
    assert manifest.metrics["average_precision"] == found.after.average_precision
    assert load(directory.parent, "small").version == "1"


def test_a_promoted_variant_is_served(directory, rows):
    optimise(directory, "int8", rows, allowed_loss=0.2, promote=True)
    assert load(directory.parent, "small").version == "2"


def test_one_that_loses_more_than_allowed_is_refused_and_nothing_is_written(directory, rows):
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    with pytest.raises(ModelRefused) as refused:
        optimise(directory, "int8", rows, allowed_loss=0.0)
    assert str(refused.value).startswith("the int8 variant of model 'small' version 1 loses 0.0")
    assert "of average precision (1.000000 to 0.9" in str(refused.value)
    assert str(refused.value).endswith("needs at most 0: nothing was written")
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


def test_a_variant_of_a_version_that_is_named(directory, rows, model):
    write_model(directory.parent, "small", model, fingerprint="f" * 64, columns=COLUMNS, outputs=["p"])
    optimise(directory, "fp16", rows, which="candidate", allowed_loss=0.2)
    assert read_manifest(directory, version=3).trained_on["variant"]["of"] == 2


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (Rows(MATRIX, np.zeros(4000, np.int8)), "the rows have 5 columns and 0 of the 800 last are positive, needs 5"),
        (Rows(MATRIX, np.ones(4000, np.int8)), "the rows have 5 columns and 800 of the 800 last are positive, needs 5"),
        (Rows(MATRIX[:, :3], np.ones(4000, np.int8)), "the rows have 3 columns and 800 of the 800 last"),
    ],
)
def test_rows_that_cannot_judge_are_refused(directory, rows, said):
    with pytest.raises(ModelRefused, match=said):
        optimise(directory, "int8", rows)


def reference_of(matrix):
    return histograms(matrix, [column["name"] for column in COLUMNS])


def probability(model):
    """Return the model with a probability for its answer."""
    import onnx

    whole = onnx.load_from_string(model)
    whole.graph.node[-1].output[0] = "logit"
    whole.graph.node.append(step("Sigmoid", ["logit"], ["p"]))
    return whole.SerializeToString()


def test_without_rows_they_are_drawn_and_judge_whether_both_rank_alike(tmp_path, model):
    reference = reference_of(MATRIX)
    directory = write_model(
        tmp_path,
        "small",
        probability(model),
        fingerprint="f" * 64,
        columns=COLUMNS,
        outputs=["p"],
        reference=reference,
    )
    found = optimise(directory, "int8")
    assert found.rows == DRAWN * JUDGED_ON
    assert abs(found.loss) < 0.005
    assert verified(directory).aliases["candidate"] == 2


def test_rows_cannot_be_drawn_for_a_model_without_histograms_or_probabilities(directory, model, tmp_path):
    with pytest.raises(ModelRefused, match="model 'small' has no reference histogram of c1, c2, c3, c4, needs rows"):
        optimise(directory, "int8")
    other = write_model(
        tmp_path / "other",
        "small",
        model,
        fingerprint="f" * 64,
        columns=COLUMNS,
        outputs=["p"],
        reference=reference_of(MATRIX),
    )
    with pytest.raises(ModelRefused, match=r"answers -\d+.* to \d+.*, which are no probabilities to draw labels by"):
        optimise(other, "int8")


def test_a_model_that_cannot_be_made_smaller_is_refused(tmp_path, rows):
    model = named(ensemble(2, 3, "mean"), "f" * 64)
    directory = write_model(tmp_path, "small", model, fingerprint="f" * 64, columns=COLUMNS, outputs=["p"])
    with pytest.raises(ModelRefused, match="model 'small' has no int8 variant: the model has no product with a matrix"):
        optimise(directory, "int8", rows)


def test_times_are_of_runs_taken_in_turns(model, rows):
    instants = itertools.accumulate(itertools.cycle([0.0, 4e-6, 0.0, 2e-6]))
    found = compare("int8", model, model, rows, lambda: next(instants))
    assert found.before.microseconds == pytest.approx({1: 4.0, 256: 4.0})
    assert found.after.microseconds == pytest.approx({1: 2.0, 256: 2.0})
    assert found.faster(256) == pytest.approx(2.0)
    assert found.apart == (0.0, 0.0)


def test_ratios_say_how_many_times_better():
    before, after = Side(300, {1: 10.0}, 0.80), Side(100, {1: 5.0}, 0.79)
    found = Comparison("int8", before, after, 10, 2, (0.0, 0.0))
    assert (found.smaller, found.faster(1), found.loss) == (3.0, 2.0, pytest.approx(0.01))
