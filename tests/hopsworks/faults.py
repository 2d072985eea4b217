"""Faults on the wire: how a server of the stand-in misbehaves, by name and switchable while it runs."""

from __future__ import annotations

from dataclasses import dataclass

SERVERS = ("control", "rdrs")
DROPS = ("", "connection", "headers")
SHAPES = ("", "short", "null-row", "text")
LISTENING = ("open", "hang", "closed")


@dataclass(frozen=True, slots=True)
class Fault:
    """What one server does wrong; the default does nothing wrong.

    `delay_ms`: an answer waits so long. `drop`: the connection is cut instead of an answer ("connection"), or after
    the answer's headers ("headers"). `truncate`: half the body, then the connection is cut. `status`: that status
    instead of an answer. `shape`: an answer that lacks its last row ("short"), has a null for its last row
    ("null-row"), or is no JSON ("text"). `listening`: new connections hang unaccepted ("hang"), or are refused and
    those open are cut ("closed"). `path`: only requests whose path contains it. `every`: only each so-manieth of them.
    """

    delay_ms: float = 0.0
    drop: str = ""
    truncate: bool = False
    status: int = 0
    shape: str = ""
    listening: str = "open"
    path: str = ""
    every: int = 1

    def __post_init__(self) -> None:
        for name, known in (("drop", DROPS), ("shape", SHAPES), ("listening", LISTENING)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"fault {name} is one of {', '.join(filter(None, known))}, was {getattr(self, name)!r}"
                )
        if self.every < 1:
            raise ValueError(f"fault every needs at least 1, was {self.every}")

    @property
    def is_idle(self) -> bool:
        """Whether answers are as they should be."""
        return not (self.delay_ms or self.drop or self.truncate or self.status or self.shape)
