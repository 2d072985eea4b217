"""The figures of docs/benchmarks.md, written from benchmarks/results: `python -m benchmarks.document [--check]`.

What stands between `<!-- figures ID: MEASURE, MEASURE -->` and `<!-- end -->` is written anew; of every
measure that is named, or of all, a table with a row for each case and a column for each side. `aims` in
place of an id is a table of all aims, `picture` the picture. The words around them are a person's.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from benchmarks.registry import OURS, benchmarks

ROOT = Path(__file__).parents[1]
RESULTS, DOCUMENT, PICTURE = ROOT / "benchmarks/results", ROOT / "docs/benchmarks.md", ROOT / "docs/benchmarks.svg"
_PLACE = re.compile(r"(<!-- figures (?P<id>[a-z-]+)(?:: (?P<measures>[^>]*?))? -->\n)(?P<body>.*?)(<!-- end -->)", re.S)

Kept = dict[str, Any]  # a result as it is kept


def results(folder: Path = RESULTS) -> dict[str, Kept]:
    """Return what was kept, by id, in the order of the benchmarks."""
    kept = {name: folder / f"{name}.json" for name in benchmarks()}
    return {name: orjson.loads(file.read_bytes()) for name, file in kept.items() if file.exists()}


def written(text: str, kept: dict[str, Kept]) -> str:
    """Return a document with its figures written anew; ValueError where it names no benchmark, or no measure."""
    return _PLACE.sub(lambda place: place[1] + _block(place["id"], place["measures"], kept) + place[5], text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the document and its picture, or tell whether they agree with what was kept; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.document", description="Write docs/benchmarks.md anew.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where it does not agree")
    check = parser.parse_args(arguments).check
    kept, text = results(), DOCUMENT.read_text("utf-8")
    new = written(text, kept)
    if check:
        if new != text:
            print("docs/benchmarks.md has other figures than benchmarks/results: run python -m benchmarks.document")
        return int(new != text)
    DOCUMENT.write_text(new, "utf-8")
    if drawn(kept):
        from benchmarks.picture import draw

        draw(kept, PICTURE)
    return 0


def drawn(kept: dict[str, Kept]) -> bool:
    """Tell whether what the picture shows was measured."""
    return "pair-json" in kept


def _block(name: str, measures: str | None, kept: dict[str, Kept]) -> str:
    if name == "aims":
        return "\n".join(_aims(kept)) + "\n"
    if name == "picture":
        return f"![Requests beside the stock pair]({PICTURE.name})\n" if drawn(kept) else _not_measured("pair-json")
    if name not in benchmarks():
        raise ValueError(f"the document has a place for {name!r}, needs the id of a benchmark, aims or picture")
    if name not in kept:
        return _not_measured(name)
    wanted = [measure.strip() for measure in measures.split(",")] if measures else None
    return "\n".join([*_tables(kept[name], wanted), _measured(kept[name])]) + "\n"


def _not_measured(name: str) -> str:
    return f"Not measured in full yet: `make bench ARGS={name}`.\n"


def _measured(one: Kept) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in one["versions"].items() if name != OURS)
    return (
        f"Measured {one['measured'][:10]} at commit {one['commit']}: {one['system']}, Python {one['python']}, "
        f"{one['cores']} cores ({one['processor']}); {versions}."
    )


def _tables(one: Kept, wanted: list[str] | None) -> Iterator[str]:
    by_measure: dict[tuple[str, str], dict[str, Kept]] = {}
    for figure in one["figures"]:
        if "of" not in figure:
            by_measure.setdefault((_base(figure["measure"]), figure["unit"]), {}).setdefault(figure["case"], figure)
    for measure in wanted or ():
        if measure not in [name for name, _ in by_measure]:
            raise ValueError(f"{one['id']} has no measure {measure!r}, needs one of {sorted(n for n, _ in by_measure)}")
    for (measure, unit), figures in by_measure.items():
        if wanted is None or measure in wanted:
            yield from _table(f"{measure}, {unit}", figures)


def _base(measure: str) -> str:
    return measure.partition(", beside ")[0]


def _table(title: str, figures: dict[str, Kept]) -> Iterator[str]:
    sides = list(dict.fromkeys(side for figure in figures.values() for side in figure["sides"]))
    peers = {figure.get("peer") for figure in figures.values()}
    yield f"| {title} | " + " | ".join(sides) + " |"
    yield "|---|" + "---:|" * len(sides)
    for case, figure in figures.items():
        cells = [_cell(figure, side, ratios=len(peers) == 1 and side.startswith(OURS)) for side in sides]
        yield f"| {case} | " + " | ".join(cells) + " |"
    yield ""


def _cell(figure: Kept, side: str, *, ratios: bool) -> str:
    found = figure["sides"].get(side)
    if found is None:
        return ""
    value, peer = found["median"], figure["sides"].get(figure.get("peer"))
    if not ratios or peer is None or not value or not peer["median"]:
        return number(value)
    ratio = value / peer["median"] if figure["better"] == "higher" else peer["median"] / value
    return f"{number(value)} ({ratio:.1f}x)"


def number(value: float) -> str:
    """Return a value as it is read: three digits that count, thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _aims(kept: dict[str, Kept]) -> Iterator[str]:
    yield "| benchmark | case | measure | aim | found | |"
    yield "|---|---|---|---:|---:|---|"
    for name, one in kept.items():
        for figure in one["figures"]:
            if "met" in figure:
                aim, found = _aim(figure)
                met = "**met**" if figure["met"] else "missed"
                yield f"| `{name}` | {figure['case']} | {_base(figure['measure'])} | {aim} | {found} | {met} |"


def _aim(figure: Kept) -> tuple[str, str]:
    if figure["aim_of"] == "ratio":
        return f"{figure['aim']:g}x", f"{figure['ratio']:.1f}x"
    sign = "≥" if figure["better"] == "higher" else "≤"
    found = figure["sides"][figure.get("of", OURS)]["median"]
    return f"{sign} {number(figure['aim'])} {figure['unit']}", f"{number(found)} {figure['unit']}"


if __name__ == "__main__":
    sys.exit(main())
