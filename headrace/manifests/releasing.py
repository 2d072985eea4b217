"""One release of a set: tried, kept as a revision, applied, waited for, and taken back where it does not get ready.

It ends with the new set ready or, where there was a former one that was, with that one applied again as a whole: model,
view and functions are parts of the same set and never of two. Deleting what left the set comes last, once all is ready.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from headrace.manifests.applying import Set, applied, left_over, planned, pruned, refuse
from headrace.manifests.cluster_faults import ClusterError, TimedOut, Unreachable
from headrace.manifests.comparing import Action, Change
from headrace.manifests.documents import Object
from headrace.manifests.revisions import Outcome, Revision, Revisions, Served, same_objects, served
from headrace.manifests.sets import INFERENCE_SERVICE, Ref, ref_of
from headrace.manifests.waiting import Clock, NotReady, Patience, Wait

_DEFINITION = "CustomResourceDefinition"


class ReleaseFailed(ClusterError):
    """A release that did not get ready; the text says why, and what serves now."""


@dataclass(frozen=True, slots=True)
class Told:
    """Where a release tells what it does: one line at a time, and each object as it is applied."""

    say: Callable[[str], None] = lambda line: None
    change: Callable[[Change], None] = lambda change: None


@dataclass(frozen=True, slots=True)
class Terms:
    """How a release is made. `roll_back` applies the former set again where the new one does not get ready."""

    force: bool = False
    prune: bool = False
    wait: bool = True
    roll_back: bool = True
    patience: Patience = field(default_factory=Patience)
    clock: Clock = field(default_factory=Clock)


@dataclass(frozen=True, slots=True)
class Released:
    """What came of a release. `revision` is None where nothing was to be done."""

    revision: Revision | None
    changed: int
    left_over: tuple[Ref, ...] = ()
    deleted: int = 0


def release(of: Set, terms: Terms, told: Told, cause: str = "apply") -> Released:
    """Apply a set and wait until it is ready.

    Raises SetRefused with nothing changed, ReleaseFailed where it did not get ready, other ClusterErrors where the
    cluster cannot be asked.
    """
    history = Revisions(of.cluster, of.name)
    changes = planned(of)
    refuse(changes, force=terms.force)
    for warning in _warnings(of, changes, history):
        told.say(f"warning: {warning}")
    last = history.last
    done_before = last is not None and last.outcome is Outcome.READY and same_objects(last.objects(), of.objects)
    if done_before and all(change.action is Action.SAME for change in changes):
        _wait(of, map(ref_of, of.objects), (), terms, told)
        return Released(None, 0, *_cleared(of, history, terms, told))
    return _made(of, history, changes, terms, told, cause)


def roll_back(history: Revisions, target: Revision, terms: Terms, told: Told) -> Released:
    """Apply a former revision again, whole, and stay with it whatever comes of it; raises as `release` does."""
    former = Set(history.name, history.cluster, target.objects())
    changes = planned(former)
    refuse(changes, force=terms.force)
    cause = f"rollback to revision {target.number}"
    return _made(former, history, changes, replace(terms, roll_back=False), told, cause, restores=target.content)


def _made(
    of: Set,
    history: Revisions,
    changes: Sequence[Change],
    terms: Terms,
    told: Told,
    cause: str,
    restores: int = 0,
) -> Released:
    former = history.before(history.last.number + 1) if history.last else None
    _prepare(of)
    made = history.begin(of.objects, cause, datetime.now(UTC).isoformat(timespec="seconds"), restores)
    told.say(f"revision {made.number} of {of.name}: {made.serves}")
    try:
        changed = _applied(of, changes, terms, told)
        if terms.wait:
            _wait(of, map(ref_of, of.objects), changed, terms, told)
    except (NotReady, ClusterError) as failed:
        with suppress(Unreachable, TimedOut):  # the text below says so
            history.end(made, Outcome.FAILED, failed.reason if isinstance(failed, NotReady) else str(failed))
        raise _taken_back(history, made, former, failed, terms, told) from failed
    except KeyboardInterrupt:
        told.say(f"interrupted: what was applied stays; headrace manifests rollback {of.name} goes back")
        history.end(made, Outcome.INTERRUPTED, "interrupted before it was ready")
        raise
    ended = history.end(made, Outcome.READY if terms.wait else Outcome.APPLIED)
    return Released(ended, len(changed), *_cleared(of, history, terms, told))


def _taken_back(
    history: Revisions,
    made: Revision,
    former: Revision | None,
    failed: Exception,
    terms: Terms,
    told: Told,
) -> ReleaseFailed:
    said = f"revision {made.number} of {made.set} did not get ready: {failed}"
    if former is None:
        return ReleaseFailed(f"{said}\nthere is no former revision that was ready: what was applied is left as it is")
    if not terms.roll_back:
        return ReleaseFailed(
            f"{said}\nit is left as it is: headrace manifests rollback {made.set} --to {former.number} brings that back"
        )
    try:
        now = Revisions(history.cluster, made.set).last
        if now is not None and now.number != made.number:
            return ReleaseFailed(f"{said}\nrevision {now.number} was begun meanwhile: nothing more was done")
        told.say(f"not ready: going back to revision {former.number} ({former.serves})")
        back = roll_back(history, former, terms, told)
    except ValueError as again:
        return ReleaseFailed(f"{said}\ngoing back to revision {former.number} failed too: {again}")
    left = f"; left over: {', '.join(map(str, back.left_over))}" if back.left_over else ""
    serves = f"{former.serves} ({former.number}, again as {back.revision.number if back.revision else former.number})"
    return ReleaseFailed(f"{said}\nrolled back: it serves {serves}{left}")


def _prepare(of: Set) -> None:
    # The namespace that the revision is kept in may be one that the set brings.
    for each in of.objects:
        if each["kind"] == "Namespace" and each["metadata"]["name"] == of.cluster.home:
            of.cluster.apply(each)


def _applied(of: Set, changes: Sequence[Change], terms: Terms, told: Told) -> set[Ref]:
    kinds = [change for change in changes if change.ref.kind == _DEFINITION]
    done = applied(of, kinds, told.change, force=terms.force)
    _wait(of, (change.ref for change in kinds), (), terms, told)  # before that, there is no object of the kind
    others = [change for change in changes if change.ref.kind != _DEFINITION]
    return done | applied(of, others, told.change, force=terms.force)


def _wait(of: Set, refs: Iterable[Ref], changed: Collection[Ref], terms: Terms, told: Told) -> None:
    known = [of.cluster.resolved(ref) for ref in refs]
    if known:
        Wait(of.cluster, known, terms.patience, told.say, changed=changed, clock=terms.clock).run()


def _cleared(of: Set, history: Revisions, terms: Terms, told: Told) -> tuple[tuple[Ref, ...], int]:
    refs = tuple(left_over(of, history))
    if not terms.prune:
        return refs, 0
    return (), pruned(of, refs, told.say)


def _warnings(of: Set, changes: Sequence[Change], history: Revisions) -> list[str]:
    said = [f"{change.ref}: {warning}" for change in changes for warning in change.warnings]
    last = history.last
    if last is not None and last.outcome is Outcome.APPLYING:
        said.append(
            f"revision {last.number} began at {last.began_at} and never ended: it was killed, or goes on elsewhere"
        )
    if same := _overwritten(of.objects, history):
        said.append(same)
    return said


def _overwritten(objects: Sequence[Object], history: Revisions) -> str:
    former = history.before(history.last.number + 1) if history.last else None
    if former is None or served(objects) in (former.serves, Served()):
        return ""
    uri = _storage(objects)
    if not uri or uri != _storage(former.objects()):
        return ""
    return (
        f"the model changes ({former.serves} to {served(objects)}) and its storageUri stays {uri}: a rollback could "
        "not bring the former one back; publish each model at an address of its own"
    )


def _storage(objects: Sequence[Object]) -> str:
    for each in objects:
        if each["kind"] == INFERENCE_SERVICE:
            model = (each["spec"].get("predictor") or {}).get("model") or {}
            return model.get("storageUri", "")
    return ""
