"""A pipeline's metrics at an address of this machine, for as long as it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from feature_pipelines.runner import Pipeline
from headrace.telemetry import PipelineMetrics, serve


@contextmanager
def metered(pipeline: Pipeline, address: str, say: Callable[[str], None]) -> Iterator[None]:
    """Serve the pipeline's metrics at `host:port` until the block ends, and say where; nothing where it is empty."""
    if not address:
        yield
        return
    newest_ms = pipeline.store.newest(pipeline.stream.name)
    metrics = PipelineMetrics(pipeline.stream, pipeline.groups, pipeline.store.size, newest_ms=newest_ms)
    pipeline.observer = metrics
    with serve(metrics.registry, address) as at:
        say(f"metrics at http://{at}/metrics")
        yield
