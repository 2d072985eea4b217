"""docs/benchmarks.md says what was measured: its figures are those of benchmarks/results, its picture is theirs."""

import copy

import pytest

from benchmarks.document import DOCUMENT, PICTURE, drawn, main, results, written
from benchmarks.picture import digest, draw
from benchmarks.registry import OURS, benchmarks

FIGURE = {
    "case": "25 entities, 16 conn.",
    "measure": "throughput per core",
    "unit": "1/s",
    "better": "higher",
    "peer": "stock",
    "ratio": 10.0,
    "aim": 3000.0,
    "aim_of": "value",
    "met": True,
    "sides": {OURS: {"median": 3590.0, "rounds": [3590.0]}, "stock": {"median": 359.0, "rounds": [359.0]}},
}
RESULT = {
    "id": "pair-json",
    "measured": "2026-03-01T10:00+00:00",
    "commit": "abc1234",
    "system": "Debian",
    "cores": 2,
    "python": "3.11.7",
    "processor": "some",
    "versions": {"numpy": "2.4.6"},
    "figures": [FIGURE],
}


def test_the_document_agrees_with_what_was_kept(capsys):
    assert main(["--check"]) == 0, capsys.readouterr().out


def test_every_benchmark_has_its_place_in_the_document():
    text = DOCUMENT.read_text("utf-8")
    assert [name for name in benchmarks() if f"<!-- figures {name}" not in text] == []


def test_the_picture_is_of_what_was_kept():
    kept = results()
    assert PICTURE.exists() == drawn(kept)
    assert not drawn(kept) or f"figures {digest(kept)}" in PICTURE.read_text("utf-8")


def test_a_place_gets_a_table_of_each_measure():
    found = written("<!-- figures pair-json: throughput per core -->\nold\n<!-- end -->\n", {"pair-json": RESULT})
    assert "old" not in found
    assert "| throughput per core, 1/s | headrace | stock |" in found
    assert "| 25 entities, 16 conn. | 3,590 (10.0x) | 359 |" in found
    assert "Measured 2026-03-01 at commit abc1234: Debian, Python 3.11.7, 2 cores (some); numpy 2.4.6." in found


def test_aims_say_whether_they_are_met():
    found = written("<!-- figures aims -->\n<!-- end -->\n", {"pair-json": RESULT})
    assert "| `pair-json` | 25 entities, 16 conn. | throughput per core | ≥ 3,000 1/s | 3,590 1/s | **met** |" in found


def test_what_was_not_measured_says_how():
    assert "Not measured in full yet: `make bench ARGS=soak`." in written("<!-- figures soak -->\n<!-- end -->", {})


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("<!-- figures fetsh -->\n<!-- end -->", "the document has a place for 'fetsh', needs the id of a benchmark"),
        ("<!-- figures pair-json: p51 -->\n<!-- end -->", "pair-json has no measure 'p51', needs one of"),
    ],
)
def test_a_place_for_nothing_is_refused(place, said):
    with pytest.raises(ValueError, match=said):
        written(place, {"pair-json": RESULT})


def test_the_same_figures_make_the_same_picture(tmp_path):
    kept = {"pair-json": copy.deepcopy(RESULT)}
    kept["pair-json"]["figures"] = [
        {**FIGURE, "case": f"{rows} {'entity' if rows == 1 else 'entities'}, 16 conn.", "measure": measure}
        for rows in (1, 25, 100, 500)
        for measure in ("throughput per core", "p99")
    ]
    for name in ("one.svg", "two.svg"):
        draw(kept, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert f"figures {digest(kept)}" in (tmp_path / "one.svg").read_text("utf-8")
