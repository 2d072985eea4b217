"""The stand-in cluster as a test holds it: a process of its own, its addresses, and calls into it.

The process ends with the block, or with the process that started it.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.hopsworks.admin import packed, unpacked

_START_S = 60.0
_STOP_S = 60.0  # a broker on a busy machine takes its time to write its topics
_ROOT = Path(__file__).parents[2]


class StandInError(RuntimeError):
    """The stand-in did not start, or refused a call; the text says why."""


class Faults:
    """The faults of a running cluster; a server is "control" or "rdrs"."""

    def __init__(self, cluster: StandIn) -> None:
        self._cluster = cluster

    def set(self, server: str, **fault: Any) -> None:
        """Change a server's fault: any of the fields of `tests.hopsworks.faults.Fault`; what is not named stays."""
        self._cluster.call("set_fault", server=server, fault=fault)

    def clear(self, server: str = "") -> None:
        """Let a server behave again, or all."""
        self._cluster.call("clear_faults", server=server)


@dataclass(slots=True)
class StandIn:
    """A running cluster; see the package for what each attribute and call is."""

    host: str
    port: int
    project: str
    api_key: str
    ca_file: str
    rdrs_port: int
    rdrs_tls_port: int
    admin_port: int
    kafka: str
    mysql: str

    @classmethod
    @contextmanager
    def started(cls, folder: Path, *, kafka: bool = True, sql: bool = False) -> Iterator[Self]:
        """Run a cluster whose files lie in `folder`, with Kafka, and with MariaDB where asked. Raises StandInError."""
        folder.mkdir(parents=True, exist_ok=True)
        told = [sys.executable, "-m", "tests.hopsworks", "--home", str(folder), "--until-input-ends"]
        with (folder / "cluster.log").open("ab") as log:
            process = subprocess.Popen(
                told + ([] if kafka else ["--no-kafka"]) + (["--sql"] if sql else []),
                cwd=_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        try:
            line = process.stdout.readline() if process.stdout else b""
            if not line:
                raise StandInError(
                    f"the cluster ended with code {process.wait(_START_S)}: see {folder / 'cluster.log'}"
                )
            yield cls(**json.loads(line)["cluster"])
        finally:
            try:
                process.communicate(timeout=_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()

    @property
    def faults(self) -> Faults:
        """What to switch while it runs."""
        return Faults(self)

    @property
    def requests(self) -> list[tuple[str, str]]:
        """Methods and paths that the control plane was asked, oldest first."""
        return self.requests_of("control")

    @property
    def unknown(self) -> list[tuple[str, str]]:
        """Requests that no route of the control plane knew."""
        return [tuple(one) for one in self.call("unknown")]

    @property
    def refused(self) -> list[str]:
        """Why messages of the online topics were refused, oldest first."""
        return list(self.call("refused"))

    def requests_of(self, server: str) -> list[tuple[str, str]]:
        """Methods and paths that a server was asked, oldest first."""
        return [tuple(one) for one in self.call("requests", server=server)]

    def forget_requests(self) -> None:
        """Empty the logs of requests."""
        self.call("forget_requests")

    def put(self, feature_group: str, version: int, rows: Sequence[Mapping[str, Any]]) -> int:
        """Upsert online rows by hand (bytes, epoch-millisecond timestamps); returns how many the group has."""
        return int(self.call("put", feature_group=feature_group, version=version, rows=list(rows)))

    def put_offline(self, feature_group: str, version: int, rows: Sequence[Mapping[str, Any]] = ()) -> int:
        """Write rows into the offline store by hand; returns how many the group has there."""
        return int(self.call("put_offline", feature_group=feature_group, version=version, rows=list(rows)))

    def delete(self, feature_group: str, version: int, keys: Sequence[Sequence[Any]]) -> None:
        """Take online rows away by hand."""
        self.call("delete", feature_group=feature_group, version=version, keys=[list(key) for key in keys])

    def rows(self, feature_group: str, version: int) -> dict[Any, dict[str, Any]]:
        """Return every online row by its key: the value itself where the key is one column, a tuple otherwise."""
        group = self.feature_group(feature_group, version)
        names = [feature["name"] for feature in group["features"] if feature["primary"]]
        rows = self.call("rows", feature_group=feature_group, version=version)
        return {row[names[0]] if len(names) == 1 else tuple(row[name] for name in names): row for row in rows}

    def feature_group(self, name: str, version: int) -> dict[str, Any]:
        """Return a feature group as the control plane tells it."""
        return dict(self.call("feature_group", name=name, version=version))

    def feature_view(self, name: str, version: int) -> dict[str, Any]:
        """Return a feature view as the control plane tells it."""
        return dict(self.call("feature_view", name=name, version=version))

    def rotate_key(self, key: str = "") -> str:
        """Put another API key in place and return it; the old one is refused from now on, `api_key` is the new one."""
        self.api_key = str(self.call("rotate_key", key=key))
        return self.api_key

    def ingested(self, feature_group: str, version: int) -> int:
        """Return how many messages of the group's topic were applied."""
        return int(self.call("ingested", feature_group=feature_group, version=version))

    def wait_ingested(self, feature_group: str, version: int, count: int, within_s: float = 30.0) -> int:
        """Wait until at least `count` messages of the group were applied; raises StandInError with why not."""
        told = {"feature_group": feature_group, "version": version, "count": count, "within_s": within_s}
        return int(self.call("wait_ingested", **told))

    def delay_ingestion(self, seconds: float) -> None:
        """Let messages be seen only so long after they were read."""
        self.call("delay_ingestion", seconds=seconds)

    def environment(self) -> dict[str, str]:
        """Return the variables by which a program finds this cluster."""
        return {
            "HOPSWORKS_HOST": self.host,
            "HOPSWORKS_PORT": str(self.port),
            "HOPSWORKS_PROJECT": self.project,
            "HOPSWORKS_API_KEY": self.api_key,
            "HOPSWORKS_TRUST_STORE_PATH": self.ca_file,
        }

    def call(self, name: str, /, **args: Any) -> Any:
        """Make one call by name; raises StandInError with the cluster's reason."""
        asking = http.client.HTTPConnection(self.host, self.admin_port)
        try:
            asking.request("POST", "/", packed({"name": name, "args": args}))
            answer = asking.getresponse()
            told = unpacked(answer.read())
        finally:
            asking.close()
        if answer.status != 200:
            raise StandInError(f"{name}: {told}")
        return told
