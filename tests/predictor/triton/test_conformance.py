"""What `headrace conformance` finds in the real Triton: what is known of it, and nothing else."""

from __future__ import annotations

from pathlib import Path

from headrace.conformance import server as judged
from headrace.conformance.judge import Report, chosen, judge
from headrace.conformance.judging import Level
from tests.end_to_end.ground import APP, Ground
from tests.predictor.triton.running import triton

#: A huge shape in JSON is allocated before it is looked at, and ends the process.
DEADLY = "REST-076"
#: Mistakes of the caller's that Triton 2.51 calls its own, with a 500 or 501 and an error object.
CALLED_ITS_OWN = {
    *("BIN-016", "BIN-018", "BIN-020", "HTTP-003", "HTTP-004", "HTTP-005"),
    *(f"REST-0{number}" for number in (60, 62, 63, 65, 67, 68, 69, 70, 72, 74, 75, 78, 79, 80, 81, 82, 83)),
    *("REST-084", "REST-089", "REST-090", "REST-091", "REST-092"),
}
#: NaN and bytes that are not UTF-8 are taken for JSON, a NUL for HTTP; no head, body or trailer is too large.
TAKEN = {"REST-085", "REST-086", "HTTP-017", "HTTP-018", "HTTP-019", "HTTP-021"}
#: A parameter of the kind uint64 is refused.
BROKEN = {"GRPC-013"}


def judgement(ground: Ground, logs: Path, only: tuple[str, ...] = (), but: tuple[str, ...] = ()) -> Report:
    """Judge a Triton of its own with the fraud model; its list of models is kept from strangers."""
    with triton(ground.models, logs) as running:
        server = judged.Server(f"http://{running.http}", model=APP.name, grpc=running.grpc)
        return judge(server, chosen(only, but))


def test_nothing_but_what_is_known_is_found(ground: Ground, tmp_path: Path) -> None:
    report = judgement(ground, tmp_path, but=(DEADLY,))
    assert report.named(Level.SHOULD) == CALLED_ITS_OWN | TAKEN
    assert report.named(Level.MUST) == BROKEN
    assert report.named(Level.EXTENSION) == set()
