"""What the cluster knows: its project, key, feature groups, views, connectors and files, in memory."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.hopsworks.certificates import Authority
from tests.hopsworks.mariadb import Database
from tests.hopsworks.offline import OfflineStore, QueryService
from tests.hopsworks.online import OnlineStore
from tests.hopsworks.routes import RefusedError

PROJECT_ID = 119
STORE_ID = 67
USER = "tester"


def new_key() -> str:
    """Return a fresh API key in Hopsworks' two parts."""
    return f"{secrets.token_urlsafe(12)}.{secrets.token_urlsafe(32)}"


@dataclass(slots=True)
class Metadata:
    """The state that the control plane keeps, and what else of the cluster it tells of.

    `kafka` and `mysql` are `host:port`, empty where there is none; `create_topic` makes a topic of that Kafka,
    and `behind` tells whether a topic holds messages that were not applied yet.
    """

    home: Path
    project: str = "headrace"
    api_key: str = field(default_factory=new_key)
    authority: Authority = field(default_factory=Authority)
    online: OnlineStore = field(default_factory=OnlineStore)
    groups: dict[int, dict[str, Any]] = field(default_factory=dict)
    views: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    functions: dict[int, dict[str, Any]] = field(default_factory=dict)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    tags: dict[str, dict[str, Any]] = field(default_factory=dict)
    ingestions: dict[int, dict[str, Any]] = field(default_factory=dict)
    kafka: str = ""
    mysql: str = ""
    offline: OfflineStore = field(default_factory=OfflineStore)
    queries: QueryService | None = None
    executions: dict[int, str] = field(default_factory=dict)
    ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    sql: Database | None = None
    create_topic: Callable[[str], None] | None = None
    behind: Callable[[str], bool] | None = None

    @property
    def store_name(self) -> str:
        """The feature store's name, as RonDB REST is asked for it."""
        return self.project

    @property
    def files(self) -> Path:
        """Where the project's data sets lie."""
        return self.home / "files"

    def settle(self) -> None:
        """Write what changed of the online rows to SQL too, where there is one."""
        for group, rows in self.online.changes():
            if self.sql is not None and group in self.groups:
                self.sql.write(self.groups[group], rows)

    def group(self, name: str, version: int) -> dict[str, Any]:
        """Return a feature group; refuses one that is not there as Hopsworks does."""
        for group in self.groups.values():
            if group["name"] == name and group["version"] == version:
                return group
        raise no_group(f"{name} version {version}")

    def group_of(self, group_id: int) -> dict[str, Any]:
        """Return a feature group by its number."""
        if group_id not in self.groups:
            raise no_group(str(group_id))
        return self.groups[group_id]

    def view(self, name: str, version: int) -> dict[str, Any]:
        """Return a feature view; refuses one that is not there as Hopsworks does."""
        if (name, version) not in self.views:
            raise RefusedError(404, 270181, "Feature view wasn't found.", f"feature view {name} version {version}")
        return self.views[name, version]


def no_group(said: str) -> RefusedError:
    """Return the refusal of a feature group that is not there."""
    return RefusedError(404, 270009, "Featuregroup wasn't found.", f"feature group {said}")
