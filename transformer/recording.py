"""What is kept of a request once it is answered: a row of the log, the spans of its trace; of a refused one, a line.

The first two are off unless they are asked for, and the request path then knows nothing of them.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from headrace.application import Application
from headrace.open_inference.calls import WatchedApp
from headrace.open_inference.rest.app import App
from headrace.settings import SettingsError, TransformerSettings
from headrace.telemetry.logs import Lines, configure, refused
from headrace.telemetry.watching import TracingError, Watched, Watching, tracing_of
from transformer.prepared import Prepared
from transformer.request_path import AnsweredOne, RequestPath
from transformer.rows import status_of

if TYPE_CHECKING:
    from headrace.predictions import PredictionLog
    from headrace.telemetry.tracing import Tracing

#: How long the log's thread may keep the interpreter from a request that wants it; Python's own 5 ms are a deadline's.
_SWITCH_S = 0.0005
#: Who is told of a call that nobody watched: the stock server's.
_UNWATCHED = Watched(b"", None)


class Recording:
    """The prediction log and the traces of one request path; either may be off."""

    def __init__(
        self, path: RequestPath, log: PredictionLog | None, tracing: Tracing | None, lines: Lines | None = None
    ) -> None:
        self._path, self._log, self._tracing, self._lines = path, log, tracing, lines
        self._about = {"headrace.model": path.name, "headrace.fingerprint": path.app.view.fingerprint}
        if log is not None:
            self._kinds = importlib.import_module("headrace.predictions")  # and with it pyarrow, which is large
            _tell(path, log)
        if log is not None or tracing is not None:
            path.after = self._after

    @classmethod
    def open(cls, settings: TransformerSettings, path: RequestPath, environment: Mapping[str, str]) -> Recording:
        """Open what settings and environment ask for. Raises SettingsError where it cannot be."""
        log = _log(settings, path.app, path.name, environment) if settings.prediction_log else None
        tracing = _tracing(environment)
        return cls(path, log, tracing, configure(settings.log_format, settings.log_level))

    def around(self, app: App) -> Any:
        """Count and log what happens at the app's gate; return the app, watched where something is kept."""
        app.gate.refused = refused
        app.gate.statistics.tell = self._path.metrics.wire
        self._path.metrics.watch_in_flight(lambda: app.gate.in_flight)
        return app if self._path.after is None else WatchedApp(app, Watching(self._tracing))

    def close(self) -> None:
        """Write and send what is left."""
        if self._log is not None:
            self._log.close()
        if self._tracing is not None:
            self._tracing.close()
        if self._lines is not None:
            self._lines.close()

    def _after(self, prepared: Prepared, answered: Sequence[AnsweredOne]) -> None:
        stage_ms = (*prepared.stage_ms, (time.perf_counter() - prepared.predicted) * 1e3)
        if self._tracing is not None:
            for one, part, _ in answered:
                trace = getattr(one.call, "trace", None)
                if trace is not None:
                    trace.ran(stage_ms, {**self._about, "headrace.rows": part.stop - part.start})
        if self._log is not None:
            self._log.offer(self._run(prepared, answered, stage_ms))

    def _run(self, prepared: Prepared, answered: Sequence[AnsweredOne], stage_ms: Sequence[float]) -> Any:
        rows, blocks = prepared.rows, prepared.blocks
        version = prepared.version or getattr(self._path.predictor, "version", "")
        count = len(self._path.outputs)  # the application's own come first; what else was asked for follows
        requests = [
            self._kinds.Answered(
                one.request.id[: self._kinds.LONGEST_ID],
                call.id,
                call.trace.id if call.trace is not None else "",
                one.request.version or version,
                part,
                [tensor.array for tensor in answer.outputs[:count]],
            )
            for one, part, answer in answered
            for call in (one.call or _UNWATCHED,)
        ]
        status, at_ms = partial(status_of, rows, blocks), time.time_ns() // 1_000_000
        return self._kinds.Run(at_ms, requests, rows, blocks, prepared.matrix, status, stage_ms)


def _log(settings: TransformerSettings, app: Application, model: str, environment: Mapping[str, str]) -> PredictionLog:
    from headrace.predictions import Columns, KeysError, PredictionLog, Pseudonyms
    from headrace.predictions.opening import Keeping, LogError, open_sink

    keeping = Keeping(settings.prediction_log_every_s, settings.prediction_log_days, settings.prediction_log_mib << 20)
    try:
        keys = Pseudonyms.read(settings.prediction_log_keys, settings.prediction_log_key_file, environment)
        sink = open_sink(settings.prediction_log, keeping, environment)
    except (KeysError, LogError) as refused:
        raise SettingsError(str(refused)) from refused
    sys.setswitchinterval(_SWITCH_S)
    columns = Columns(model, app.view, {output.name: output.datatype for output in app.outputs}, keys)
    return PredictionLog(sink, columns.table, share=settings.prediction_log_share)


def _tracing(environment: Mapping[str, str]) -> Tracing | None:
    try:
        return tracing_of(environment, "headrace-transformer")
    except TracingError as refused:
        raise SettingsError(str(refused)) from refused


def _tell(path: RequestPath, log: PredictionLog) -> None:
    from headrace.telemetry.predictions import watch_log

    watch_log(path.metrics.registry, path.name, log)
