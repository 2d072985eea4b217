"""What a judgement is made of: checks with permanent ids, the level of each, and what becomes of it.

A check is a function of a server. It returns where the server does what the rule asks, and else raises: `Finding`
where it does not, `NotOffered` where it says it has no such thing, `NotJudged` where nobody can tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.conformance.server import Server


class Level(StrEnum):
    """How much a rule binds: the protocol says so, its clients rely on it, or it is an extension some servers offer."""

    MUST = "must"
    SHOULD = "should"
    EXTENSION = "extension"


class Outcome(StrEnum):
    """What became of a check."""

    PASS = "pass"
    FAIL = "fail"
    NOT_OFFERED = "not offered"
    NOT_JUDGED = "not judged"


class Finding(Exception):
    """The server does otherwise than the rule asks; `level` says where that is less than the check's own."""

    def __init__(self, found: str, level: Level | None = None) -> None:
        super().__init__(found)
        self.level = level


class NotOffered(Exception):
    """The server refuses the thing itself, in order: it has no such extension."""


class NotJudged(Exception):
    """There is nothing to judge by, such as a second output of a model that has one."""


@dataclass(frozen=True, slots=True)
class Check:
    """One rule and how it is tried. `id` is never given to another rule; `name` says it in a word."""

    id: str
    name: str
    area: str
    level: Level
    rule: str
    run: Callable[[Server], None]


Run = Callable[["Server"], None]


def checks_of(area: str) -> Callable[[str, Level, str], Callable[[Run], Check]]:
    """Return the decorator that makes functions checks of an area: `@check("REST-001 live", Level.MUST, rule)`."""

    def check(label: str, level: Level, rule: str) -> Callable[[Run], Check]:
        number, _, name = label.partition(" ")
        return lambda run: Check(number, name, area, level, rule, run)

    return check


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a check, why, and the last thing that was sent and came back; both are short."""

    check: Check
    outcome: Outcome
    level: Level
    why: str = ""
    sent: str = ""
    got: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the result as it is written in JSON."""
        said = {"id": self.check.id, "name": self.check.name, "area": self.check.area, "rule": self.check.rule}
        told = {"why": self.why, "sent": self.sent, "got": self.got}
        return said | {"level": self.level, "outcome": self.outcome} | told
