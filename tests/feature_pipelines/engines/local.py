"""The yardstick: what the local engine leaves of the same events."""

from __future__ import annotations

from pathlib import Path

from feature_pipelines.engines import Job, Report, load_engine
from headrace.application import load_application
from tests.feature_pipelines.engines import events


def job(app: str, source: Path | str, store: Path, **options: str) -> Job:
    """Return a job of one of the applications in `events`, by the name it has there; a file is read in its order."""
    order = {} if str(source).startswith("kafka:") else {"order": "file"}
    return Job(f"{events.__name__}:{app}", "payments", str(source), store, to_end=True, options=order | options)


def forever() -> bool:
    """Never stop."""
    return False


def run(engine: str, given: Job) -> Report:
    """Run a job to its end."""
    return load_engine(engine).run(given, forever)


def assert_as_local(found: Path, app: str, source: Path | str, store: Path) -> None:
    """Let the local engine run a job into `store`, and compare every record and dead letter of `found` with its own."""
    report = run("local", job(app, source, store))
    groups = load_application(f"{events.__name__}:{app}").groups
    events.assert_equal(events.records(found, groups), events.records(store, groups))
    assert events.letters(found) == events.letters(store)
    assert report.duplicates
    assert report.dead == len(events.letters(store)) > 0
