"""Every check, and the judgement of a server by them: in order, one at a time, to the end.

A server that no longer answers anybody is asked nothing more; what is left is not judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.conformance import (
    checks_afterwards,
    checks_binary,
    checks_grpc,
    checks_health,
    checks_infer,
    checks_malformed,
    checks_transport,
)
from headrace.conformance.grpc_wire import Refused
from headrace.conformance.http_wire import Exchange, NoAnswer
from headrace.conformance.judging import Check, Finding, Level, NotJudged, NotOffered, Outcome, Result
from headrace.conformance.server import Server

#: Every check in the order they are tried.
CHECKS: tuple[Check, ...] = (
    *checks_health.CHECKS,
    *checks_infer.CHECKS,
    *checks_binary.CHECKS,
    *checks_malformed.CHECKS,
    *checks_transport.CHECKS,
    *checks_grpc.CHECKS,
    *checks_afterwards.CHECKS,
)
_NOBODY = Exchange("", "")


@dataclass(frozen=True, slots=True)
class Report:
    """The results of one judgement, in the order of the checks."""

    results: Sequence[Result]

    @property
    def findings(self) -> list[Result]:
        """The results that failed."""
        return [result for result in self.results if result.outcome is Outcome.FAIL]

    def named(self, level: Level) -> set[str]:
        """Return the ids of the checks that failed at a level."""
        return {result.check.id for result in self.findings if result.level is level}

    @property
    def counts(self) -> dict[Outcome, int]:
        """How many results there are of each outcome."""
        found = Counter(result.outcome for result in self.results)
        return {outcome: found[outcome] for outcome in Outcome}

    def as_dict(self) -> dict[str, Any]:
        """Return the report as it is written in JSON."""
        return {
            "counts": {str(key): count for key, count in self.counts.items()},
            "results": [result.as_dict() for result in self.results],
        }

    def __str__(self) -> str:
        """Count the outcomes, and the findings of each level."""
        counted = ", ".join(f"{count} {outcome}" for outcome, count in self.counts.items())
        return f"{counted}; findings: " + ", ".join(f"{len(self.named(level))} {level}" for level in Level)

    @property
    def exit_code(self) -> int:
        """0 without a must-finding, 1 with one, 2 where the model was never asked because no request of it is known."""
        if self.named(Level.MUST):
            return 1
        infer = [result for result in self.results if result.check.id == "REST-030"]
        return 2 if any(result.outcome is Outcome.NOT_JUDGED for result in infer) else 0


def chosen(ids: Iterable[str], but: Iterable[str] = ()) -> Sequence[Check]:
    """Return the checks of these ids or names, all of them for none, without those of `but`.

    Raises ValueError with the name of one that is not there.
    """
    wanted, left_out = list(ids), list(but)
    known = {key for check in CHECKS for key in (check.id, check.name)}
    for each in (*wanted, *left_out):
        if each not in known:
            raise ValueError(f"there is no check {each!r}, needs one that --list shows, such as {CHECKS[0].id}")
    kept = [check for check in CHECKS if not wanted or {check.id, check.name} & set(wanted)]
    return [check for check in kept if not {check.id, check.name} & set(left_out)]


def judge(
    server: Server, checks: Sequence[Check] = CHECKS, told: Callable[[Result], None] = lambda result: None
) -> Report:
    """Try the checks on a server; `told` hears of each result as it comes."""
    results: list[Result] = []
    gone = ""
    for check in checks:
        result = _result(check, Outcome.NOT_JUDGED, _NOBODY, gone) if gone else tried(check, server)
        if not gone and result.outcome is Outcome.FAIL and not _reachable(server):
            gone = f"nobody listens since {check.id}"
        results.append(result)
        told(result)
    return Report(results)


def tried(check: Check, server: Server) -> Result:
    """Try one check."""
    before = len(server.exchanges)
    try:
        check.run(server)
    except NotOffered as none:
        return _result(check, Outcome.NOT_OFFERED, _last(server, before), str(none))
    except NotJudged as none:
        return _result(check, Outcome.NOT_JUDGED, _last(server, before), str(none))
    except Finding as found:
        return _result(check, Outcome.FAIL, _last(server, before), str(found), found.level)
    except Refused as refusal:
        return _result(check, Outcome.FAIL, _last(server, before), f"refused: {refusal}")
    except NoAnswer as none:
        return _result(check, Outcome.FAIL, _last(server, before), f"no answer: {none}")
    return _result(check, Outcome.PASS, _last(server, before))


def _result(check: Check, outcome: Outcome, last: Exchange, why: str = "", level: Level | None = None) -> Result:
    return Result(check, outcome, level or check.level, why, last.sent, last.got)


def _last(server: Server, before: int) -> Exchange:
    return server.exchanges[-1] if len(server.exchanges) > before else _NOBODY


def _reachable(server: Server) -> bool:
    try:
        with server.wire.connection():
            return True
    except NoAnswer:
        return False
