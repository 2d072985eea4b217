"""The containers of the laptop's pod, run here as they are told to run there, serve what was streamed into them.

Only what a machine without a cluster has not is put otherwise: folders, ports, the address, and the broker.
"""

from __future__ import annotations

import json
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import orjson
import pytest

from feature_pipelines.kafka import KafkaAddress, create_topic, produce
from headrace.cli.broker import local_broker
from headrace.cli.stack import Worker, worker
from headrace.manifests.documents import Object
from tests.end_to_end.ground import made
from tests.manifests.golden import whole
from tests.manifests.test_release import one

WAIT_S = 120
CARD = 4_000_000_000_000_005
#: How this machine runs what the image has on its PATH.
PROGRAMS = {"python": [], "headrace": ["-m", "headrace.cli"]}


class Pod:
    """The pod as it is here: its containers, and the free ports that stand for theirs."""

    def __init__(self, folder: Path, models: Path, broker: str) -> None:
        objects = whole("overlays/laptop")
        spec = one(objects, "InferenceService")["spec"]["predictor"]
        (runtime,) = one(objects, "ServingRuntime", spec["model"]["runtime"])["spec"]["containers"]
        self.containers = [runtime, *(each for each in spec["containers"] if each["name"] != "broker")]
        self.maps = {each["metadata"]["name"]: each["data"] for each in objects if each["kind"] == "ConfigMap"}
        told = json.dumps([self.containers, self.maps])
        self.ports = {int(port): free() for port in set(re.findall(r"\b(?:80[08][01]|910[01])\b", told))}
        self.workers: dict[str, Worker] = {}
        self.places = {"0.0.0.0": "127.0.0.1", "127.0.0.1:9092": broker}
        self.places |= {"/store": str(folder / "store"), "/mnt/models": str(models)}

    def here(self, text: str) -> str:
        """Return a text of the manifest with this machine's places in it."""
        for there, place in self.places.items():
            text = text.replace(there, place)
        return re.sub(r"\b(80[08][01]|910[01])\b", lambda port: str(self.ports[int(port[0])]), text)

    def environment(self, container: Object) -> dict[str, str]:
        """Return what a container finds in its environment."""
        sources = [self.maps[source["configMapRef"]["name"]] for source in container.get("envFrom", ())]
        return {name: self.here(value) for source in sources for name, value in source.items()}

    @contextmanager
    def running(self, container: Object, logs: Path) -> Iterator[Worker]:
        """Run a container's command until the block ends."""
        variables = self.environment(container)
        program, *words = [*container["command"], *container.get("args", ())]
        # The kubelet fills in variables; KServe adds this port's flag to a transformer's.
        filled = [re.sub(r"\$\((\w+)\)", lambda name: variables[name[1]], self.here(word)) for word in words]
        if container["name"] == "transformer-container":
            filled += ["--http_port", str(self.ports[8080]), "--grpc_port", str(self.ports[8081])]
        with worker(container["name"], [*PROGRAMS[program], *filled], logs, variables) as started:
            yield started

    def answers(self, container: Object, probe: str) -> bool:
        """Tell whether a container's probe is content."""
        get = container[probe]["httpGet"]
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.ports[get['port']]}{get['path']}", timeout=5).close()
        except OSError:
            return False
        return True


def free() -> int:
    """Return a port of the loopback that nobody listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """Every container running and content, after payments and a label were produced."""
    folder, models = tmp_path_factory.mktemp("pod"), made(tmp_path_factory.getbasetemp()).models
    with ExitStack() as running:
        broker = running.enter_context(local_broker(folder / "broker"))
        now = time.time_ns() // 1_000_000
        for topic in ("payments", "labels"):
            create_topic(KafkaAddress(broker, topic))
            row = {"tid": "a", "cc_num": CARD, "terminal_id": 7, "datetime": now - 60_000, "amount": 30.0}
            row |= {"fraud_label": False} if topic == "labels" else {}
            produce(KafkaAddress(broker, topic), [(b"k", orjson.dumps(row))])
        made_here = Pod(folder, models, broker)
        workers = [running.enter_context(made_here.running(each, folder)) for each in made_here.containers]
        made_here.workers = {each.name: each for each in workers}
        until = time.monotonic() + WAIT_S
        while not all(made_here.answers(each, "readinessProbe") for each in made_here.containers):
            for each in workers:
                each.check()
            assert time.monotonic() < until, [each.log.read_text() for each in workers]
        yield made_here


def test_every_probe_of_the_pod_is_content(pod):
    for container in pod.containers:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert pod.answers(container, probe), (container["name"], probe)


def test_a_request_is_answered_of_what_was_streamed(pod):
    body = orjson.dumps({"instances": [{"cc_num": CARD, "terminal_id": 7, "amount": 30.0}]})
    address = f"http://127.0.0.1:{pod.ports[8080]}"
    with urllib.request.urlopen(f"{address}/v1/models/fraud:predict", body, timeout=20) as answer:
        (row,) = orjson.loads(answer.read())["predictions"]
    assert 0 < row["fraud_probability"] < 1
    with urllib.request.urlopen(f"{address}/metrics", timeout=20) as answer:
        metrics = answer.read().decode()
    for group in ("card_activity", "terminal_risk"):
        assert f'headrace_rows_missing_total{{group="{group}",model_name="fraud"}} 0.0' in metrics


def test_a_card_that_never_paid_is_told_from_one_that_did(pod):
    body = orjson.dumps({"instances": [{"cc_num": 1, "terminal_id": 7, "amount": 30.0}]})
    address = f"http://127.0.0.1:{pod.ports[8080]}"
    urllib.request.urlopen(f"{address}/v1/models/fraud:predict", body, timeout=20).close()
    with urllib.request.urlopen(f"{address}/metrics", timeout=20) as answer:
        assert 'headrace_rows_missing_total{group="card_activity",model_name="fraud"} 1.0' in answer.read().decode()


def test_told_to_end_it_answers_on_while_it_is_not_ready_and_then_ends_well(pod):
    transformer, *pipelines = pod.containers[1:]
    for worker_ in pod.workers.values():
        worker_.process.terminate()
    until = time.monotonic() + WAIT_S
    while pod.answers(transformer, "readinessProbe"):
        assert time.monotonic() < until
    assert pod.answers(transformer, "livenessProbe")
    for container in pipelines:
        assert pod.workers[container["name"]].process.wait(WAIT_S) == 0
    for name in ("kserve-container", "transformer-container"):
        pod.workers[name].process.terminate()  # a second time: do not wait for the drain's end
        assert pod.workers[name].process.wait(WAIT_S) == 0
