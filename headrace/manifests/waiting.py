"""Waiting until what was applied does what it should, and telling what happens meanwhile.

Times are seconds of a monotonic clock. The wait ends as soon as all is ready, when something fails that began to
`failing_s` ago, or when `timeout_s` is over; a cluster that does not answer for a while ends nothing before that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from headrace.manifests.cluster import Cluster
from headrace.manifests.cluster_faults import TimedOut, Unreachable
from headrace.manifests.explaining import Below, News, below, reasons
from headrace.manifests.readiness import JUDGED, READY, Readiness, State, readiness
from headrace.manifests.sets import INFERENCE_SERVICE, Ref

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait. A changed InferenceService must stay ready for `settle_s`: its status does not say of what."""

    timeout_s: float = 600.0
    failing_s: float = 120.0
    settle_s: float = 5.0
    look_s: int = 2


class NotReady(ValueError):
    """Objects that are not ready, each with the reasons, the most telling first."""

    def __init__(self, after: str, why: Mapping[Ref, list[str]]) -> None:
        self.why = dict(why)
        lines = [f"\n  {ref}: " + "\n    ".join(said) for ref, said in why.items()]
        super().__init__(f"not ready {after}:{''.join(lines)}")

    @property
    def reason(self) -> str:
        """The first reason of the first object, in one line."""
        return next((f"{ref}: {said[0]}" for ref, said in self.why.items() if said), "")


@dataclass(frozen=True, slots=True)
class Clock:
    """Where the time comes from, and how some of it is let go by."""

    now: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep


class Wait:
    """One wait for some objects; `changed` are those that the apply before it changed."""

    def __init__(
        self,
        cluster: Cluster,
        refs: Iterable[Ref],
        patience: Patience,
        tell: Tell,
        *,
        changed: Collection[Ref] = (),
        clock: Clock | None = None,
    ) -> None:
        self._cluster, self._patience, self._tell = cluster, patience, tell
        self._clock = clock or Clock()
        self._refs = tuple(ref for ref in refs if ref.kind in JUDGED)
        self._pending = dict.fromkeys(self._refs, Readiness(State.WAITING))
        self._looks = 0
        self._changed = set(changed)
        self._since: dict[tuple[Ref, State], float] = {}
        self._began = self._clock.now()
        self._news = News(cluster, [ref.name for ref in self._refs])

    def run(self) -> None:
        """Return when all is ready; raises NotReady, and ClusterError where the cluster says no."""
        with suppress(TimedOut, Unreachable):  # the first look says so
            self._news.begin()
        while self._look() or self._look_again():
            if stuck := self._stuck():
                raise NotReady(f"and failing for {self._patience.failing_s:g} s", self._reasons(stuck))
            if self._clock.now() - self._began >= self._patience.timeout_s:
                raise NotReady(f"within {self._patience.timeout_s:g} s", self._reasons(self._pending))
            self._listen()

    def _look_again(self) -> bool:
        if self._looks == 1:
            return False
        self._pending = dict.fromkeys(self._refs, READY)  # what got ready first may have failed since
        return self._look()

    def _look(self) -> bool:
        self._looks += 1
        for ref in list(self._pending):
            try:
                found = self._judged(ref)
            except (TimedOut, Unreachable) as away:
                self._tell(f"the cluster does not answer, asking again: {away}")
                break
            if found != self._pending[ref]:
                self._tell(f"{ref}: {found.said or found.state.value}")
            self._note(ref, found.state)
            self._pending[ref] = found
            if found.state is State.READY and self._settled(ref):
                del self._pending[ref]
        return bool(self._pending)

    def _note(self, ref: Ref, state: State) -> None:
        # A container that fails runs in between: what counts is how long ago it began to, and that it fails now.
        if state is State.READY:
            self._since.pop((ref, State.FAILING), None)
        else:
            self._since.pop((ref, State.READY), None)
        self._since.setdefault((ref, state), self._clock.now())

    def _judged(self, ref: Ref) -> Readiness:
        found = self._cluster.get(ref)
        if found is None:
            return Readiness(State.WAITING, "it is not there: was it deleted?")
        parts = Below() if readiness(found).state is State.READY else below(self._cluster, found)
        return readiness(found, parts.deployments, parts.pods)

    def _settled(self, ref: Ref) -> bool:
        if not _is_service(ref) or ref not in self._changed:
            return True
        return self._clock.now() - self._since[ref, State.READY] >= self._patience.settle_s

    def _stuck(self) -> list[Ref]:
        until = self._clock.now() - self._patience.failing_s
        failing = (ref for ref, found in self._pending.items() if found.state is State.FAILING)
        return [ref for ref in failing if self._since[ref, State.FAILING] <= until]

    def _listen(self) -> None:
        try:
            news = self._news.wait(self._patience.look_s)
            if news is not None:
                for event in news:
                    self._tell(f"{'warning' if event.warning else 'event'}: {event}")
                return
        except (TimedOut, Unreachable):
            pass  # the next look says so
        self._clock.pause(self._patience.look_s)

    def _reasons(self, refs: Iterable[Ref]) -> dict[Ref, list[str]]:
        return {ref: self._why(ref) for ref in refs}

    def _why(self, ref: Ref) -> list[str]:
        said = self._pending[ref].said
        try:
            return reasons(self._cluster, ref, self._cluster.get(ref), said)
        except (TimedOut, Unreachable) as away:
            return [said or "not asked", str(away)]


def _is_service(ref: Ref) -> bool:
    return ref.kind == INFERENCE_SERVICE
