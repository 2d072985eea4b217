"""A Hopsworks cluster for the demo and the local stack: the one that the environment names, or a stand-in beside them.

The stand-in speaks the wire protocol of a cluster on the loopback. It is part of a checkout, not of
what is installed, and keeps nothing once it has ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from headrace.application import Application
from headrace.cli.console import step
from headrace.cli.stack import StackError, Worker, worker
from headrace.stores.online import Block, Lookup, OnlineStore, StoreUnavailable, WritableStore

#: The store's name for a transformer.
HOPSWORKS = "hopsworks://"
_NAMED = "HOPSWORKS_HOST"
_START_S = 60.0
_TAKEN_IN_S = 30.0
_STAND_IN = "tests/hopsworks/__main__.py"
_CHECKOUT = Path(__file__).parents[2]  # where this is not what was installed
_LOOK_S = 0.005


@contextmanager
def cluster(app: Application, home: Path) -> Iterator[str]:
    """Have a cluster with the application applied, named by the environment until the block ends; give its store's URL.

    Raises StackError where there is none, and HopsworksError where it refuses.
    """
    from headrace.hopsworks.apply import apply
    from headrace.hopsworks.declared import Declared
    from headrace.hopsworks.session import HopsworksSettings, connect

    with ExitStack() as running:
        with step("Hopsworks") as doing:
            url = running.enter_context(_named(home))
            with connect(HopsworksSettings.of(os.environ)) as session:
                changes = len(apply(session, Declared.of(app)).to_do)
                doing.result = (
                    f"{session.settings.where}, project {session.settings.project}, {changes} changes applied"
                )
        yield url


@contextmanager
def _named(home: Path) -> Iterator[str]:
    if os.environ.get(_NAMED):
        yield HOPSWORKS
        return
    with stand_in(home) as (found, variables):
        os.environ.update(variables)
        try:
            yield f"{HOPSWORKS}{found['host']}:{found['rdrs_tls_port']}"
        finally:
            for name in variables:
                del os.environ[name]


@contextmanager
def stand_in(home: Path) -> Iterator[tuple[Mapping[str, Any], Mapping[str, str]]]:
    """Run the stand-in until the block ends; give where it is, and the variables that say so. Raises StackError."""
    if (folder := _checkout()) is None:
        raise StackError(
            f"there is no Hopsworks to talk to: name a cluster by {_NAMED}, HOPSWORKS_PROJECT and HOPSWORKS_API_KEY, "
            "or run this in a checkout, which has a stand-in"
        )
    if find_spec("pymysql") is None:  # comes with the SDK
        raise StackError("the stand-in of Hopsworks needs what a cluster needs: pip install 'headrace[hopsworks]'")
    logs = home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    with (
        TemporaryDirectory(dir=home, prefix="hopsworks-", ignore_cleanup_errors=True) as own,
        worker("hopsworks", ["-m", "tests.hopsworks", "--home", own], logs, {"PYTHONPATH": path}) as running,
    ):
        yield _announced(running)


def _checkout() -> Path | None:
    return next((folder for folder in (Path.cwd(), _CHECKOUT) if (folder / _STAND_IN).is_file()), None)


def _announced(running: Worker) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        for line in running.log.read_text("utf-8", "replace").splitlines():
            if line.startswith('{"cluster"'):
                told = json.loads(line)
                return told["cluster"], {
                    **told["environment"],
                    "HOPSWORKS_TRUST_STORE_PATH": told["cluster"]["ca_file"],
                }
        running.check()
        time.sleep(0.05)
    raise StackError(f"the stand-in for Hopsworks did not start within {_START_S:.0f} s: see {running.log}")


@contextmanager
def mirrored(store: WritableStore, app: Application) -> Iterator[WritableStore]:
    """Give a store whose records are rows of the environment's cluster too; see opened_mirror."""
    from feature_pipelines.hopsworks.opening import opened_mirror

    with opened_mirror(store, app, app.groups) as mirror:
        yield mirror


class TakenIn:
    """Waits until a cluster serves what a store on this machine holds: rows reach it by a topic, a moment later.

    `url` is the cluster's store. Raises StackError with the reason where it cannot be read.
    """

    def __init__(self, app: Application, here: OnlineStore, url: str) -> None:
        from headrace.hopsworks.opening import open_hopsworks

        self._groups, self._here = app.groups, here
        self._there = open_hopsworks(url, app, os.environ)
        self._runner = asyncio.Runner()
        self._runner.run(self._opened())

    def wait(self, keys: Mapping[str, np.ndarray], as_of: np.ndarray) -> None:
        """Return once the cluster gives these keys, by column, the values that the store gives; raises StackError."""
        lookups = self._lookups(keys)
        wanted = self._read(self._here, lookups, as_of)
        until = time.monotonic() + _TAKEN_IN_S
        while lacking := _lacking(lookups, wanted, self._read(self._there, lookups, as_of)):
            if time.monotonic() > until:
                raise StackError(
                    f"Hopsworks did not take in rows that it acknowledged within {_TAKEN_IN_S:.0f} s: {lacking}"
                )
            time.sleep(_LOOK_S)

    def close(self) -> None:
        """Let go of both stores."""
        self._there.close()
        self._runner.close()

    def _lookups(self, keys: Mapping[str, np.ndarray]) -> list[Lookup]:
        return [Lookup(group, keys[group.key]) for group in self._groups]

    async def _opened(self) -> None:
        until = time.monotonic() + _TAKEN_IN_S
        while reason := self._there.readiness(self._groups):
            if time.monotonic() > until:
                raise StackError(f"the features in Hopsworks cannot be read: {reason}")
            await asyncio.sleep(0.1)

    def _read(self, store: OnlineStore, lookups: Sequence[Lookup], as_of: np.ndarray) -> list[Block]:
        try:
            return self._runner.run(store.read(lookups, as_of))
        except StoreUnavailable as away:
            raise StackError(f"the features cannot be read: {away}") from away


def _lacking(lookups: Sequence[Lookup], ours: Sequence[Block], theirs: Sequence[Block]) -> str:
    """Say how many rows of which groups differ; empty where none does."""
    said = []
    for wanted, a, b in zip(lookups, ours, theirs, strict=True):
        same = (a.found == b.found) & ((a.values == b.values) | (np.isnan(a.values) & np.isnan(b.values))).all(axis=1)
        if not same.all():
            said.append(f"{np.count_nonzero(~same):,} of {same.size:,} rows of {wanted.group.name}")
    return ", ".join(said)
