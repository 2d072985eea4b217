"""The pair that most are on today beside Headrace: kserve's server with features by the Hopsworks SDK.

One predictor serves all sides, one stand-in cluster both readers of Hopsworks. Transformers share the measured core
and are asked in turn; predictor, cluster and load generator share the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks.ground import PATIENT_MS, Ground
from benchmarks.hopsworks_read import filled_cluster
from benchmarks.processes import MEASURED, OTHERS, free_port, pinned, running
from benchmarks.registry import OURS
from benchmarks.serving import IN_PROCESS, check_agreement, in_process
from benchmarks.stock_cluster import VIEW, add_stock_view, variables
from headrace.cli.stack import Server
from tests.headrace.hopsworks.filled import environment
from tests.hopsworks import StandIn

FROM_CLUSTER, STOCK = "headrace from hopsworks", "stock"


@dataclass(frozen=True, slots=True)
class Pair:
    """What runs: transformers by side, the predictor behind all but those that have one in themselves."""

    sides: dict[str, Server]
    predictor: Server


@contextmanager
def stock_pair(ground: Ground, wanted: tuple[str, ...] = ()) -> Iterator[Pair]:
    """Run the sides that are wanted, all unless said; their answers are compared before anything is measured."""
    name, logs = ground.app.name, ground.home / "logs"
    with ExitStack() as stack:
        with pinned(OTHERS):  # the cluster inherits where it runs
            cluster: StandIn = stack.enter_context(filled_cluster(ground))
        add_stock_view(ground, cluster)
        stack.enter_context(variables(environment(cluster)))
        model = ["--repository", str(ground.models), "--model", name, "--http-port", "0", "--grpc-port", "0"]
        predictor = stack.enter_context(running("predictor", model, logs, OTHERS))
        started = {
            side: stack.enter_context(running(module, flags, logs, MEASURED))
            for side, (module, flags) in _sides(ground, cluster, predictor).items()
            if not wanted or side in wanted
        }
        if OURS in started:
            check_agreement(ground, {side: each.http for side, each in started.items()})
        yield Pair(started, predictor)


def _sides(ground: Ground, cluster: StandIn, predictor: Server) -> dict[str, tuple[str, list[str]]]:
    name, rest = ground.app.name, f"{cluster.host}:{cluster.rdrs_port}"
    ours = ["--http_port", "0", "--grpc_port", "0", "--deadline_ms", str(PATIENT_MS)]
    hop = [*ours, "--predictor_host", predictor.http]
    stock = ["--http_port", str(free_port()), "--grpc_port", str(free_port()), "--model_name", name]
    stock += ["--predictor_host", predictor.grpc, "--predictor_protocol", "grpc-v2", "--view", VIEW, "--rest", rest]
    return {
        OURS: ("transformer", [*hop, "--store", str(ground.store)]),
        IN_PROCESS: ("transformer", in_process(ground)),
        FROM_CLUSTER: ("transformer", [*hop, "--store", f"hopsworks://{rest}?tls=false"]),
        STOCK: ("benchmarks.peers.stock_hopsworks", [*stock, "--certificates", str(ground.home / "certificates")]),
    }
