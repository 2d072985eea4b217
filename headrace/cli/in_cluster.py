"""Options that name a Hopsworks cluster, and a session with the cluster they name.

The `HOPSWORKS_*` variables, which the SDK reads too, name it where an option does not; the key comes
only by a variable or a file, so that it is in no list of processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any

import click

from headrace.cli.console import FILE, refusals
from headrace.hopsworks.session import HopsworksSettings, Session, connect

_CLUSTER = (
    click.option("--host", help="The cluster's host; HOPSWORKS_HOST otherwise."),
    click.option("--port", type=int, help="The port of its API; HOPSWORKS_PORT otherwise, or 443."),
    click.option("--project", help="The project; HOPSWORKS_PROJECT otherwise."),
    click.option("--key-file", type=FILE, help="A file that holds the API key; HOPSWORKS_API_KEY(_FILE) otherwise."),
    click.option("--ca-file", type=FILE, help="The authorities that sign its certificate, PEM."),
)


def in_cluster(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that name a cluster, to be passed on to `connected`."""
    return reduce(lambda made, option: option(made), reversed(_CLUSTER), command)


@contextmanager
def connected(
    host: str | None, port: int | None, project: str | None, key_file: Path | None, ca_file: Path | None
) -> Iterator[Session]:
    """Log in to the cluster that options and the environment name; a refusal is one line and exit code 1."""
    environment = dict(os.environ)
    if key_file is not None:
        environment.pop("HOPSWORKS_API_KEY", None)
        environment["HOPSWORKS_API_KEY_FILE"] = str(key_file)
    given = {"host": host, "port": port, "project": project, "ca_file": None if ca_file is None else str(ca_file)}
    with refusals(), connect(HopsworksSettings.of(environment, **given)) as session:
        yield session
