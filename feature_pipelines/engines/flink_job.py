"""A Flink job: read, key by bucket, fold, write. `python -m feature_pipelines.engines.flink_job JOB.json`.

It runs in Flink's own Python environment. With `--here` it runs on a Flink of this process, until the
source was read or its standard input is closed, and keeps its state as a savepoint. Without, it is
submitted: `flink run --python` or the Kubernetes operator run it on a cluster, whose
configuration says where checkpoints are kept. Flink never sees event time: windows are tiles, and
lateness is the fold's.
"""

from __future__ import annotations

import math
import select
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError
from pyflink.common import Configuration, Duration, Types, WatermarkStrategy
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.datastream.connectors.file_system import FileSource, StreamFormat
from pyflink.datastream.connectors.number_seq import NumberSequenceSource
from pyflink.java_gateway import get_gateway

from feature_pipelines.engines import Job
from feature_pipelines.engines.flink_functions import Fold, Gather, Nothing, Read, Write, packet_type, summaries
from feature_pipelines.engines.flink_kafka import messages_of
from feature_pipelines.engines.flink_plan import CHECKPOINT_S, REFUSED, Plan, begin, recovery_path, state_folder, told
from feature_pipelines.engines.opening import Flow, identity, job_of, whole
from feature_pipelines.files import SourceError
from headrace.stores.online import LayoutMismatch, StoreUnavailable

_LOOK_S = 0.2
_KEEP_S = 120.0


def build(env: StreamExecutionEnvironment, plan: Plan, *, ends: bool) -> None:
    """Add the job's operators to an environment; with `ends` it is over when its source is.

    No two operators in Python share a thread. In thread mode they would stand in each other's way: pyarrow asks
    for the interpreter's lock on behalf of the thread, in the name of the first, while the second holds it.
    """
    flow = plan.flow()
    parts = _file(env, plan, flow) if flow.is_file else _topic(env, plan, ends)
    past = parts.get_side_output(summaries())
    if flow.is_file and not ends:
        parts = parts.union(_alive(env, state_folder(plan.job) / "alive"))
    folds = parts.key_by(lambda packet: packet[0], Types.STRING()).process(Fold(plan), packet_type())
    folded = folds.name("fold").uid("fold")
    folded.union(past).process(Write(plan), Types.INT()).name("write").uid("write").set_parallelism(1)


def _file(env: StreamExecutionEnvironment, plan: Plan, flow: Flow) -> DataStream:
    (partition,) = flow.partitions()
    with closing(flow.open(partition, None)) as file:
        batches = math.ceil((file.total or 0) / flow.batch)
    numbers = NumberSequenceSource(0, batches - 1)
    source = env.from_source(numbers, WatermarkStrategy.no_watermarks(), "batches", Types.LONG())
    source = source.uid(f"batches of {flow.batch} of {partition}").set_parallelism(1)
    parts = source.process(Read(plan), packet_type()).name("read").uid(f"read {partition}")
    return parts.set_parallelism(1).disable_chaining()


def _alive(env: StreamExecutionEnvironment, folder: Path) -> DataStream:
    """Return a stream without events or end: an operator whose inputs have ended takes no state into a savepoint."""
    folder.mkdir(exist_ok=True)
    lines = FileSource.for_record_stream_format(StreamFormat.text_line_format(), folder.as_uri())
    source = lines.monitor_continuously(Duration.of_days(1)).build()
    nothing = env.from_source(source, WatermarkStrategy.no_watermarks(), "alive").uid("alive").set_parallelism(1)
    return nothing.process(Nothing(), packet_type()).name("nothing").uid("nothing").set_parallelism(1)


def _topic(env: StreamExecutionEnvironment, plan: Plan, ends: bool) -> DataStream:
    messages = messages_of(env, plan.job, ends=ends)
    parts = messages.key_by(lambda row: row[1], Types.INT()).process(Gather(plan), packet_type())
    return parts.name("gather").uid("gather").disable_chaining()


def configuration(job: Job, folder: Path) -> Configuration:
    """Return the configuration of a Flink in this process that keeps its state in a folder."""
    checkpoint_s = whole(job.options, "checkpoint_s", CHECKPOINT_S)
    given = {
        "python.execution-mode": "thread",
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
        "parallelism.default": str(whole(job.options, "parallelism", 1)),
        "execution.checkpointing.interval": f"{checkpoint_s} s",
        "execution.checkpointing.dir": (folder / "checkpoints").as_uri(),
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "state.backend.type": job.options.get("backend", "hashmap"),
        # A failure that a new start does not mend is to be seen, not tried for ever.
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": "3",
        "restart-strategy.fixed-delay.delay": "1 s",
    }
    if jars := job.options.get("jars"):
        given["pipeline.jars"] = ";".join(file.resolve().as_uri() for file in sorted(Path(jars).glob("*.jar")))
    if (kept := recovery_path(folder)) is not None:
        given["execution.state-recovery.path"] = kept.as_uri()
        # Where a file is done and another follows: `begin` sees to it that nothing else is given up.
        given["execution.state-recovery.ignore-unclaimed-state"] = "true"
    made = Configuration()
    for name, value in given.items():
        made.set_string(name, value)
    return made


def run_here(job: Job, stopped: Callable[[], bool]) -> None:
    """Run a job on a Flink of this process until its source was read or `stopped()`, and keep its state.

    Raises ValueError, SourceError and LayoutMismatch where the job or its store are refused, before anything runs.
    """
    folder = state_folder(job)
    plan = Plan(job, f"flink:{identity(folder)}", str(folder))
    flow = plan.flow()
    targets = _targets(flow) if flow.is_file or job.to_end else None
    with flow.sink() as sink:  # a store that is not this state's is refused here
        sink.start(plan.owner, list(flow.partitions()))
    begin(folder, flow.partitions()[0] if flow.is_file else job.source, flow.is_file)
    if _is_done(folder, targets):
        return
    env = StreamExecutionEnvironment.get_execution_environment(configuration(job, folder))
    build(env, plan, ends=False)
    client: Any = env.execute_async(f"headrace {job.application} {job.stream}")
    result = client.get_job_execution_result()
    while not result.done():
        if stopped() or _is_done(folder, targets):
            _keep(client, folder)
            return
    result.result()


def _targets(flow: Flow) -> dict[str, int]:
    """Return the offset after the last event of each partition; a topic's end may lie behind offsets without events."""
    if flow.is_file:
        return flow.ends()
    targets, begins = {}, flow.begins()
    for name, end in flow.ends().items():
        at, back = end, 1
        while at > begins[name] and name not in targets:
            at, back = max(begins[name], end - back), 8 * back
            with closing(flow.open(name, at, to_end=True)) as source:
                while not source.ended:
                    if (batch := source.poll(flow.batch)) is not None:
                        targets[name] = batch.end[name]
    return targets


def _is_done(folder: Path, targets: Mapping[str, int] | None) -> bool:
    positions, _ = told(folder)
    return targets is not None and all(positions.get(name, 0) >= end for name, end in targets.items())


def _keep(client: Any, folder: Path) -> None:
    """End a job with a savepoint, and remove what was kept before.

    What is written after the savepoint and before the end is written once more by the next run.
    """
    before = [path for kind in ("checkpoints", "savepoints") for path in folder.glob(f"{kind}/*")]
    # The methods of pyflink's client pass no format, which Flink 2 asks for.
    job, formats = client._j_job_client, get_gateway().jvm.org.apache.flink.core.execution.SavepointFormatType
    until = time.monotonic() + _KEEP_S
    while True:
        try:
            job.triggerSavepoint((folder / "savepoints").as_uri(), formats.CANONICAL).get()
            break
        except Py4JJavaError:  # an operator that begins or ends at this moment refuses it
            if time.monotonic() > until:
                raise
            time.sleep(_LOOK_S)
    job.cancel().get()
    for path in before:
        shutil.rmtree(path, ignore_errors=True)


def _closed() -> bool:
    """Tell whether who started this process has closed its standard input, waiting a moment for that."""
    readable, _, _ = select.select([sys.stdin], [], [], _LOOK_S)
    return bool(readable) and not sys.stdin.readline()


def main(arguments: list[str]) -> None:
    """Run the job of a file, here or as it is submitted."""
    here = "--here" in arguments
    (path,) = (argument for argument in arguments if argument != "--here")
    job = job_of(Path(path).read_text())
    if here:
        try:
            run_here(job, _closed)
        except (SourceError, LayoutMismatch, StoreUnavailable, ValueError) as refused:
            print(" ".join(str(refused).split()), file=sys.stderr)
            sys.exit(REFUSED)
        return
    env = StreamExecutionEnvironment.get_execution_environment()
    build(env, Plan(job, f"flink:{identity(state_folder(job))}"), ends=job.to_end or "://" not in job.source)
    env.execute(f"headrace {job.application} {job.stream}")


if __name__ == "__main__":
    main(sys.argv[1:])
