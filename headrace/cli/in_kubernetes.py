"""Options that name a Kubernetes cluster, and the cluster they name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.console import FILE, refusals

if TYPE_CHECKING:
    from headrace.manifests.cluster import Cluster

_CLUSTER = (
    click.option("--kubeconfig", type=FILE, help="The kubeconfig; KUBECONFIG or ~/.kube/config otherwise."),
    click.option("--context", help="The context in it; its current one otherwise."),
    click.option("--namespace", "-n", help="The namespace; the objects' own or the context's otherwise."),
    click.option(
        "--request-timeout",
        "request_timeout_s",
        type=click.FloatRange(0.1),
        default=10.0,
        show_default=True,
        help="Seconds that one request may take.",
    ),
)


def in_kubernetes(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that name a cluster, to be passed on to `connected`."""
    return reduce(lambda made, option: option(made), reversed(_CLUSTER), command)


@contextmanager
def connected(
    kubeconfig: Path | None, context: str | None, namespace: str | None, request_timeout_s: float
) -> Iterator[Cluster]:
    """Yield the cluster that options and the environment name; a refusal is one line and exit code 1."""
    from headrace.manifests.cluster import Cluster
    from headrace.manifests.connecting import Access, connect

    with refusals():
        connection = connect(Access(kubeconfig, context, namespace, request_timeout_s))
        with closing(Cluster(connection, namespace)) as cluster:
            yield cluster
