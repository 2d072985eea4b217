"""MariaDB as the SQL side of the online store: the rows of every online group again, one table each.

The SDK knows no port but 3306, so each server has a loopback address of its own. There are no grants and no system
tables; nothing outlives the cluster. Install: `apt-get install mariadb-server-core`.
"""

from __future__ import annotations

import datetime
import getpass
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pymysql

PROGRAM = "mariadbd"
INSTALL = "apt-get install --no-install-recommends mariadb-server-core"
PORT = 3306
_START_S = 30.0
_LOOK_S = 0.05
_EPOCH = datetime.datetime(1970, 1, 1)  # noqa: DTZ001 (a DATETIME has no zone, ours are UTC)
_TYPES = {"timestamp": "datetime(3)", "string": "varchar(100)", "binary": "varbinary(100)", "boolean": "tinyint"}


class NoDatabaseError(RuntimeError):
    """MariaDB is not installed or did not start; the text says which."""


def program() -> str | None:
    """Return where the server is, None where it is not installed."""
    return shutil.which(PROGRAM) or shutil.which(PROGRAM, path="/usr/sbin:/usr/local/sbin")


class Database:
    """The tables of one project; called from the servers' loop alone."""

    def __init__(self, host: str, project: str) -> None:
        self.host, self._project = host, project
        self._connection = pymysql.connect(host=host, port=PORT, user="root", autocommit=True)
        self._ask(f"CREATE DATABASE IF NOT EXISTS `{project}`")

    def declare(self, group: Mapping[str, Any]) -> None:
        """Make a group's table, or give it the columns it lacks."""
        columns = [f"`{f['name']}` {_type_of(f)}" for f in _stored(group)]
        key = ", ".join(f"`{f['name']}`" for f in _stored(group) if f["primary"])
        self._ask(f"CREATE TABLE IF NOT EXISTS {self.table(group)} ({', '.join(columns)}, PRIMARY KEY ({key}))")
        for column in columns:
            self._ask(f"ALTER TABLE {self.table(group)} ADD COLUMN IF NOT EXISTS {column}")

    def drop(self, group: Mapping[str, Any], *, rows_only: bool = False) -> None:
        """Take a group's table away, or its rows."""
        self._ask(f"{'TRUNCATE' if rows_only else 'DROP'} TABLE {self.table(group)}")

    def write(self, group: Mapping[str, Any], rows: Mapping[tuple[Any, ...], Mapping[str, Any] | None]) -> None:
        """Write rows by key; None takes one away."""
        kinds = {feature["name"]: feature["type"] for feature in _stored(group)}
        put = [[_told(kinds[name], row[name]) for name in kinds] for row in rows.values() if row is not None]
        marks = ", ".join(["%s"] * len(kinds))
        with self._connection.cursor() as cursor:
            if put:
                cursor.executemany(f"REPLACE INTO {self.table(group)} VALUES ({marks})", put)
            gone = [key for key, row in rows.items() if row is None]
            if gone:
                named = " AND ".join(f"`{f['name']}` = %s" for f in _stored(group) if f["primary"])
                cursor.executemany(f"DELETE FROM {self.table(group)} WHERE {named}", gone)

    def table(self, group: Mapping[str, Any]) -> str:
        """Return a group's table, quoted."""
        return f"`{self._project}`.`{group['name']}_{group['version']}`"

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _ask(self, text: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(text)


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run a server whose files are in `folder` and yield its address. Raises NoDatabaseError."""
    at = program()
    if at is None:
        raise NoDatabaseError(f"{PROGRAM} is not installed, the SQL side needs it: {INSTALL}")
    folder.mkdir(parents=True, exist_ok=True)
    host = _free_address()
    options = {
        "datadir": folder,
        "socket": folder / "s",
        "pid-file": folder / "pid",
        "bind-address": host,
        "port": PORT,
        "user": getpass.getuser(),
        "innodb-buffer-pool-size": "32M",
        "innodb-flush-log-at-trx-commit": 0,
    }
    told = [at, "--no-defaults", "--skip-grant-tables", *(f"--{name}={value}" for name, value in options.items())]
    with (folder / "mariadb.log").open("ab") as log:
        process = subprocess.Popen(told, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        for _ in range(int(_START_S / _LOOK_S)):
            if _listens(host):
                break
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(_LOOK_S)
                raise NoDatabaseError(f"{PROGRAM} ended with code {code}: see {folder / 'mariadb.log'}")
        yield host
    finally:
        process.terminate()
        process.wait()


def _free_address() -> str:
    for _ in range(20):
        host = f"127.{random.randint(1, 250)}.{random.randint(1, 250)}.{random.randint(2, 250)}"
        with suppress(OSError), socket.socket() as listener:
            listener.bind((host, PORT))
            return host
    raise NoDatabaseError(f"no loopback address has port {PORT} free")


def _listens(host: str) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex((host, PORT)) == 0


def _stored(group: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [feature for feature in group["features"] if not feature["onDemand"]]


def _type_of(feature: Mapping[str, Any]) -> str:
    kind = feature["onlineType"]
    return _TYPES.get(kind, kind) + (" NOT NULL" if feature["primary"] else " NULL")


def _told(kind: str, value: Any) -> Any:
    if value is None or kind not in ("timestamp", "date"):
        return value
    if kind == "date":
        return _EPOCH.date() + datetime.timedelta(days=value)
    return _EPOCH + datetime.timedelta(milliseconds=value)
